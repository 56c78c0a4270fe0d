from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.budgets import Budget
from bench.contract import METHODS
from bench.errors import UsageError
from methods.parts.embeddings import Extractor

TEN = Budget.parse("10")
BUDGETED = [
    "random",
    "graphcut",
    "herding",
    "kcenter",
    "moderate",
    "facility-location",
    "dq",
    "adq",
    "adq[scores=none]",
    "dq[bins=3,kernel=cosine]",
]


@pytest.mark.parametrize("spec", BUDGETED)
@pytest.mark.parametrize("percent", ["7", "33.3", "100"])
def test_every_budget_is_met_exactly_and_classes_keep_their_share(spec, percent, noise, context):
    budget = Budget.parse(percent)
    method = METHODS.make_one(spec)
    compressed = method.compress(noise, budget, context())
    compressed.check(noise, budget, method.keeps)
    kept = np.bincount(noise.labels[compressed.indices], minlength=3)
    assert kept.tolist() == budget.images_by_class(noise.class_counts).tolist()


@pytest.mark.parametrize("spec", ["random", "dq", "adq"])
def test_the_same_seed_gives_the_same_picks_and_another_one_gives_others(spec, digits, context):
    method = METHODS.make_one(spec)
    first = method.compress(digits, TEN, context(0)).indices
    again = method.compress(digits, TEN, context(0)).indices
    other = method.compress(digits, TEN, context(1)).indices
    assert first.tolist() == again.tolist()
    assert set(first) != set(other)


def test_random_does_not_depend_on_the_order_of_the_images(digits, context):
    order = np.random.default_rng(5).permutation(len(digits))
    method = METHODS.make_one("random")
    straight = method.compress(digits, TEN, context()).indices
    shuffled = method.compress(digits.subset(order), TEN, context()).indices
    assert set(straight) == set(order[shuffled])


def test_random_draws_are_nested_over_budgets(digits, context):
    method = METHODS.make_one("random")
    small = method.compress(digits, TEN, context()).indices
    large = method.compress(digits, Budget.parse("20"), context()).indices
    assert set(small) <= set(large)


@pytest.mark.parametrize("spec", ["adq[scores=none]", "adq[alpha=0]"])
def test_adq_without_importance_is_dq(spec, digits, context):
    dq = METHODS.make_one("dq").compress(digits, TEN, context())
    adq = METHODS.make_one(spec).compress(digits, TEN, context())
    assert adq.indices.tolist() == dq.indices.tolist()


def test_dq_takes_the_same_share_of_every_bin(digits, context):
    compressed = METHODS.make_one("dq").compress(digits, TEN, context())
    bins = METHODS.make_one("dq").bins_of(digits, context())["sizes"]
    shares = np.array(compressed.bin_counts) / bins
    assert np.abs(shares - 0.1).max() < 1 / bins.min()


@pytest.mark.parametrize("scores", ["rs", "ds", "rs+ds"])
def test_adq_moves_images_towards_the_bins_of_higher_importance(scores, digits, context):
    compressed = METHODS.make_one(f"adq[scores={scores},alpha=1]").compress(digits, TEN, context())
    importance = np.array(compressed.notes["importance"])
    counts = np.array(compressed.bin_counts)
    assert importance.min() >= 0
    assert importance.max() <= (2 if scores == "rs+ds" else 1)
    assert counts[importance.argmax()] > counts[importance.argmin()]


def test_bins_are_made_once_for_methods_ratios_and_scores(digits, context):
    made = []
    for spec in ("dq", "adq", "adq[scores=rs,alpha=0.3]"):
        for percent in ("10", "20"):
            ctx = context()
            METHODS.make_one(spec).compress(digits, Budget.parse(percent), ctx)
            made += [key for key, cost in ctx.costs.items() if cost["kind"] == "bins"]
    assert len(made) == 6
    assert len(set(made)) == 1


def test_a_cached_artefact_costs_as_much_as_a_fresh_one(digits, context):
    fresh, cached = context(), context()
    METHODS.make_one("adq").compress(digits, TEN, fresh)
    METHODS.make_one("adq").compress(digits, TEN, cached)
    assert cached.costs == fresh.costs
    kinds = {cost["kind"] for cost in fresh.costs.values()}
    assert kinds == {"extractor", "embeddings", "bins", "texture", "discriminator", "scores"}


def test_graphcut_keeps_the_first_picks_of_a_larger_budget(digits, context):
    method = METHODS.make_one("graphcut")
    small = method.compress(digits, TEN, context()).indices
    large = method.compress(digits, Budget.parse("20"), context()).indices
    for label in range(10):
        few, many = (picks[digits.labels[picks] == label] for picks in (small, large))
        assert many[: len(few)].tolist() == few.tolist()


def test_a_class_with_fewer_images_than_bins_is_kept_too(noise, context):
    few = noise.subset(np.concatenate([np.flatnonzero(noise.labels == 0)[:4],
                                       np.flatnonzero(noise.labels != 0)]))  # fmt: skip
    budget = Budget.parse("25")
    method = METHODS.make_one("dq")
    compressed = method.compress(few, budget, context())
    compressed.check(few, budget, method.keeps)
    assert np.bincount(few.labels[compressed.indices])[0] == 1


def test_full_keeps_everything(noise, context):
    compressed = METHODS.make_one("full").compress(noise, Budget.parse("100"), context())
    assert compressed.indices.tolist() == list(range(80))


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("adq[alpha=1.5]", "from 0 to 1"),
        ("adq[scores=both]", "rs\\+ds"),
        ("dq[bins=0]", "at least|from 1"),
        ("dq[extractor=resnet9]", "Did you mean 'resnet8'"),
        ("graphcut[extractor=resnet9]", "Did you mean 'resnet8'"),
        ("dq[kernel=rbf]", "cosine"),
    ],
)
def test_wrong_parameters_are_refused_when_the_method_is_made(spec, hint):
    with pytest.raises(UsageError, match=hint):
        METHODS.make_one(spec)


def test_a_model_with_parameters_can_be_the_extractor(noise, context):
    method = METHODS.make_one("graphcut[extractor=resnet8[width=4],extractor_epochs=1]")
    assert method.compress(noise, TEN, context()).indices.shape == (8,)
    assert "resnet8[width=4]" in method.spec


def test_every_method_is_a_frozen_dataclass_with_an_info():
    for name in METHODS.names():
        method = METHODS.make_one(name)
        assert dataclasses.is_dataclass(method)
        assert method.info.title
        assert method.info.code


def test_an_extractor_that_was_interrupted_goes_on_from_its_last_epoch(
    digits, context, monkeypatch
):
    few = digits.subset(np.arange(200))
    extractor = Extractor("resnet8[width=4]", 5)
    interrupted, epochs = context(), []

    def stop(stage, done, total):
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, "progress", stop)
    with pytest.raises(KeyboardInterrupt):
        extractor.network(few, interrupted)["last.weight"]
    resumed = context()
    monkeypatch.setattr(resumed, "progress", lambda stage, done, total: epochs.append(done))
    weights = extractor.network(few, resumed)["last.weight"]
    straight = extractor.network(few, context(dataset="the same elsewhere"))["last.weight"]
    assert epochs == [4, 5]
    assert (weights == straight).all()
