"""Optimizers below the compiler's decorators: torch's own arithmetic, without its compiler."""

import copy
import sys

import pytest
import torch

from bench.optimizers import eager

SETTINGS = {
    torch.optim.SGD: {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    torch.optim.AdamW: {"lr": 0.01, "weight_decay": 0.1},
    torch.optim.Adam: {"lr": 0.01},
}
every_kind = pytest.mark.parametrize("kind", SETTINGS, ids=lambda kind: kind.__name__)


def after(steps, optimizer, weights):
    for _ in range(steps):
        optimizer.zero_grad()
        weights.pow(3).sum().backward()
        optimizer.step()
    return weights.detach().clone()


def fresh():
    return torch.nn.Parameter(torch.linspace(-1, 1, 6))


@every_kind
@pytest.mark.parametrize("fused", [False, True])
def test_steps_are_those_of_torchs_own_class(kind, fused):
    own, theirs = fresh(), fresh()
    ours = after(5, eager(kind)([own], fused=fused, **SETTINGS[kind]), own)
    assert torch.equal(ours, after(5, kind([theirs], fused=fused, **SETTINGS[kind]), theirs))


@every_kind
def test_the_state_goes_on_elsewhere(kind):
    weights = fresh()
    first = eager(kind)([weights], **SETTINGS[kind])
    after(3, first, weights)
    twin = torch.nn.Parameter(weights.detach().clone())
    second = eager(kind)([twin], **SETTINGS[kind])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(after(3, first, weights), after(3, second, twin))


@every_kind
def test_nothing_of_it_imports_the_compiler(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # an import of it would fail
    weights = fresh()
    optimizer = eager(kind)([weights], **SETTINGS[kind])
    after(2, optimizer, weights)
    optimizer.load_state_dict(optimizer.state_dict())
