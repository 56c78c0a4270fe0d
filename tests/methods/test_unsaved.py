"""A checkpoint that cannot be written costs no result, whatever is being made."""

from __future__ import annotations

import numpy as np
import pytest

from bench.budgets import Budget
from bench.checkpoints import Checkpoint
from bench.contract import METHODS
from bench.errors import DiskFullError
from bench.selecting import select
from methods.parts import matching
from methods.parts.mae import SmallMae

REFUSED = "cannot write newest.json: No space left on device"


@pytest.fixture
def full_disk(monkeypatch):
    """Return what has no room for checkpoints any more."""

    def fill() -> None:
        def save(self, state):
            raise DiskFullError(REFUSED)

        monkeypatch.setattr(Checkpoint, "save", save)

    return fill


def problems(ctx):
    told = (cost.get("told", {}) for cost in ctx.costs.values())
    return [one["unsaved_checkpoint"] for one in told if one]


def test_of_matching(digits, context, monkeypatch, full_disk):
    monkeypatch.setattr(matching, "CHECKPOINT_EVERY", 1)
    method = METHODS.make_one("dm[extractor=convnet3[width=4],batch_real=8,iterations=3]")
    budget, ctx = Budget.parse("2"), context(dataset="full")
    expected = select(method, digits, budget, context())
    full_disk()
    assert np.array_equal(select(method, digits, budget, ctx).images, expected.images)
    assert problems(ctx) == [REFUSED]


@pytest.mark.usefixtures("small_autoencoder")
def test_of_the_autoencoder(digits, context, full_disk):
    few, ctx = digits.subset(np.arange(70)), context(dataset="full")
    expected = SmallMae(2).weights(few, context(), 0.25, "paper")["cls_token"]
    full_disk()
    assert np.array_equal(SmallMae(2).weights(few, ctx, 0.25, "paper")["cls_token"], expected)
    assert problems(ctx) == [REFUSED]
