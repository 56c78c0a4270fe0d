"""Precision is chosen by a rule: what the protocol names, or what device and network gain by."""

from __future__ import annotations

import pytest
import torch

from bench import precision
from bench.models import MODELS
from bench.precision import choose
from bench.protocols import PROTOCOLS

AUTO = PROTOCOLS.make_one("cpu")
RESNET, CONVNET = MODELS.make_one("resnet8"), MODELS.make_one("convnet3")


@pytest.mark.parametrize("name", ["fp32", "bf16"])
@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_what_a_protocol_names_is_taken_on_every_device(name, device):
    found = choose(PROTOCOLS.make_one(f"paper[precision={name}]"), RESNET, device)
    assert (found.name, found.reason) == (name, "the protocol names it")


@pytest.mark.parametrize(
    ("units", "model", "name", "reason"),
    [
        ((), RESNET, "fp32", "no bf16 units"),
        (("avx512_bf16",), RESNET, "bf16", "the processor has avx512_bf16"),
        (("amx_bf16", "avx512_bf16"), CONVNET, "fp32", "convnet3 is slower in bf16"),
    ],
)
def test_a_processor_takes_bf16_where_it_and_the_network_gain(
    monkeypatch, units, model, name, reason
):
    monkeypatch.setattr(precision, "bf16_units", lambda: units)
    found = choose(AUTO, model, "cpu")
    assert found.name == name
    assert reason in found.reason


@pytest.mark.parametrize(
    ("capability", "name"), [((7, 0), "fp32"), ((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_a_gpu_takes_bf16_from_the_generation_that_multiplies_it(monkeypatch, capability, name):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    found = choose(AUTO, CONVNET, "cuda")
    assert found.name == name
    assert f"{capability[0]}.{capability[1]}" in found.reason


def test_this_processors_units_are_those_that_torch_sees():
    flags = getattr(torch.cpu, "get_capabilities", dict)()
    assert ("amx_bf16" in precision.bf16_units()) == bool(flags.get("amx_bf16"))
