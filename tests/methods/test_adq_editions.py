"""The editions of adq: segments, constants on bins, the printed equations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bench.budgets import Budget
from bench.contract import METHODS, Keeps
from methods.dq import split_bins
from methods.parts.diversity import Discriminator
from methods.parts.released import ADQ_IMPORTANCES, ADQ_SEGMENTS, adq_segments
from methods.parts.texture import texture_level

SMALL = "extractor=resnet8[width=4],extractor_epochs=0"


EIGHTH = Budget.parse("12.5")


# adq


def scaled(values):
    return [(v - min(values)) / (max(values) - min(values)) for v in values]


@pytest.mark.parametrize("scores", ["rs", "ds", "rs+ds"])
def test_the_papers_importance_is_the_sum_of_its_scaled_scores(scores, digits, context):
    """Eq. 3 to 8 and the shares of Eq. 9, from the images and the heads' vectors, bin by bin."""
    few, ctx = digits.subset(np.arange(300)), context()
    method = METHODS.make_one(f"adq[bins=4,alpha=0.4,scores={scores},temperature=0.2,{SMALL}]")
    compressed = method.compress(few, EIGHTH, ctx)
    bins = split_bins(method.bins_of(few, ctx))
    vectors = Discriminator(method.network, 0.2).vectors(few, ctx)
    textures = [np.mean([texture_level(few.images[[i]])[0] for i in one]) for one in bins]
    diversities = []
    for one in bins:
        likeness = np.exp(vectors["anchors"][one].astype(float) @ vectors["anchors"][one].T / 0.2)
        np.fill_diagonal(likeness, np.nan)
        own = np.einsum("nd,nd->n", vectors["anchors"][one], vectors["positives"][one]) / 0.2
        diversities.append(np.mean(own - np.log(np.nanmean(likeness, axis=1))))
    parts = {"rs": scaled(textures), "ds": scaled(diversities)}
    expected = np.sum([parts[name] for name in scores.split("+")], axis=0)
    assert compressed.notes["importance"] == pytest.approx(expected.tolist(), abs=1e-4)
    sizes = np.array([len(one) for one in bins])
    shares = 0.4 * expected / expected.sum() + 0.6 * sizes / sizes.sum()
    assert np.abs(compressed.bin_counts - shares * EIGHTH.images(300)).max() < 1


def test_released_adq_draws_segments_of_every_bin(digits, context):
    method = METHODS.make_one(f"adq[edition=released,bins=3,{SMALL}]")
    ctx = context()
    compressed = method.compress(digits, EIGHTH, ctx)
    bins = split_bins(method.bins_of(digits, ctx))
    start = 0
    for one, count in zip(bins, compressed.bin_counts, strict=True):
        sizes = adq_segments(len(one))
        weights = sizes * np.array(ADQ_IMPORTANCES)
        wanted = [round(w / weights.sum() * int(0.125 * len(one))) for w in weights]
        drawn = [np.flatnonzero(one == i)[0] for i in compressed.indices[start : start + count]]
        places = np.searchsorted(np.cumsum(sizes), drawn, side="right")
        assert np.bincount(places, minlength=10).tolist() == wanted
        start += count
    assert compressed.notes["scaled_segments"] is True
    assert compressed.notes["capped_segments"] is False
    assert compressed.notes["segment_importance"] == list(ADQ_IMPORTANCES)


def test_bins_of_5000_have_the_released_segments():
    method = METHODS.make_one("adq[edition=released]")
    bins = [np.arange(5000) + 5000 * n for n in range(10)]
    plan, notes = method.plan(bins, keyed(f"{n:05d}" for n in range(50_000)), EIGHTH, None)
    assert [[len(part) for part, _ in pools] for pools in plan] == [list(ADQ_SEGMENTS)] * 10
    assert [sum(count for _, count in pools) for pools in plan] == [625] * 10
    assert notes["scaled_segments"] is False


@pytest.mark.parametrize(
    ("name", "greedy", "last"),
    [
        ("{label}/{number:03d}.png", "released", lambda number, place: number),
        ("{label}/{place}.png", "released", lambda number, place: place),
        ("{label}/{number:03d}.png", "exact", lambda number, place: place),
    ],
)
def test_the_last_released_bin_lies_in_the_order_of_the_data_set(name, greedy, last):
    """A folder of CIFAR-10 is read class by class, but the official order mixes the classes."""
    numbers = np.random.default_rng(0).permutation(60)  # of the images, class after class
    numbers = np.sort(numbers.reshape(3, 20)).ravel()
    names = [
        name.format(label="abc"[i // 20], number=n, place=f"{i % 20:02d}")
        for i, n in enumerate(numbers.tolist())
    ]
    places = np.arange(60).reshape(3, 20)
    bins = [np.sort(places[:, half], axis=1).ravel() for half in (slice(0, 10), slice(10, 20))]
    method = METHODS.make_one(f"adq[edition=released,greedy={greedy},bins=2]")
    plan, _ = method.plan(bins, keyed(names), EIGHTH, None)
    first, second = (np.concatenate([part for part, _ in pools]) for pools in plan)
    assert first.tolist() == bins[0].tolist()
    assert second.tolist() == sorted(bins[1].tolist(), key=lambda i: last(numbers[i], i))


def keyed(keys):
    """A training split as :meth:`plan` needs it."""
    keys = tuple(keys)
    return SimpleNamespace(labels=np.zeros(len(keys), int), classes=("a",), keys=keys)


def test_released_adq_without_importances_draws_segments_by_size():
    method = METHODS.make_one("adq[edition=released,scores=none]")
    train = keyed(f"{n:04d}" for n in range(5000))
    (pools,), notes = method.plan([np.arange(5000)], train, EIGHTH, None)
    assert [count for _, count in pools] == [round(n / 5000 * 625) for n in ADQ_SEGMENTS]
    assert notes["segment_importance"] == [1.0] * 10


def test_intended_adq_shares_the_budget_by_size_times_importance(digits, context):
    method = METHODS.make_one(f"adq[edition=released-intended,{SMALL}]")
    ctx = context()
    compressed = method.compress(digits, EIGHTH, ctx)
    weights = method.bins_of(digits, ctx)["sizes"] * np.array(ADQ_IMPORTANCES)
    expected = [round(w / weights.sum() * int(0.125 * len(digits))) for w in weights]
    assert list(compressed.bin_counts) == expected
    assert compressed.notes["importance_of"] == "released constants"
    assert compressed.notes["importance"] == list(ADQ_IMPORTANCES)


def test_released_importances_give_way_to_own_scores_where_there_are_not_ten_bins(digits, context):
    few = digits.subset(np.arange(300))
    compressed = METHODS.make_one(f"adq[edition=released-intended,bins=4,{SMALL}]").compress(
        few, EIGHTH, context()
    )
    assert compressed.notes["importance_of"] == "rs+ds"
    assert len(compressed.notes["importance"]) == 4
    assert max(compressed.notes["importance"]) <= 2


def test_literal_adq_keeps_the_same_whatever_is_asked(digits, context):
    method = METHODS.make_one(f"adq[edition=literal,{SMALL}]")
    kept = [method.compress(digits, Budget.parse(p), context()) for p in ("10", "30")]
    assert kept[0].bin_counts == kept[1].bin_counts
    sizes = method.bins_of(digits, context())["sizes"]
    importance = np.array(kept[0].notes["importance"])
    rates = 0.65 * importance + 0.35 * sizes / sizes.sum()
    assert list(kept[0].bin_counts) == np.minimum(np.floor(rates * sizes + 1e-9), sizes).tolist()
    assert "asked_images" not in kept[0].notes
    assert method.keeps is Keeps.ITS_OWN_COUNT
    assert not method.budgeted


@pytest.mark.parametrize(
    "spec", ["adq[scores=none]", "adq[alpha=0]", "adq[shares=product,scores=none]"]
)
def test_adq_without_importance_is_dq_in_its_details_too(spec, digits, context):
    for more in ("draw=released", "class_quota=false"):
        dq = METHODS.make_one(f"dq[{more},{SMALL}]").compress(digits, EIGHTH, context())
        adq = METHODS.make_one(spec.replace("]", f",{more},{SMALL}]")).compress(
            digits, EIGHTH, context()
        )
        assert adq.indices.tolist() == dq.indices.tolist()


def test_adq_with_released_importances_is_the_papers_rule_with_them(digits, context):
    compressed = METHODS.make_one(f"adq[scores=released,rounding=floor,{SMALL}]").compress(
        digits, EIGHTH, context()
    )
    total = EIGHTH.images(len(digits))
    sizes = METHODS.make_one(f"dq[{SMALL}]").bins_of(digits, context())["sizes"]
    shares = 0.65 * np.array(ADQ_IMPORTANCES) / sum(ADQ_IMPORTANCES) + 0.35 * sizes / sizes.sum()
    assert list(compressed.bin_counts) == np.floor(shares * total).astype(int).tolist()
    assert total - 10 <= len(compressed) <= total
