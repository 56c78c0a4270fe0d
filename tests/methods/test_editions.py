"""The editions of random, graphcut, dq and adq: what each keeps, and what each difference does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from selections import graphcut_bins

from bench.budgets import Budget, ClassBudget
from bench.contract import METHODS, Keeps
from bench.errors import UsageError
from methods.dq import split_bins

SMALL = "extractor=resnet8[width=4],extractor_epochs=0"


EIGHTH = Budget.parse("12.5")


RELEASED = {
    "extractor": "timm[architecture=resnet18.tv_in1k,pretrained=true]",
    "extractor_epochs": 0,
    "embedding": "gradients",
    "loss": "double-softmax",
    "head": "random",
    "normalisation": "data",
    "kernel": "cosine",
    "greedy": "released",
    "rounding": "released",
}


def rounded_by_class(labels, fraction):
    return [round(fraction * n) for n in np.bincount(labels).tolist()]


# What the editions set


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("graphcut", {}),
        ("dq", {"draw": "released"}),
        ("adq", {"draw": "released", "class_quota": False, "shares": "position-segments"}),
    ],
)
def test_the_released_edition_sets_every_difference(name, more):
    released = METHODS.make_one(f"{name}[edition=released]")
    assert released.spec == f"{name}[edition=released]"
    for key, value in (RELEASED | more).items():
        assert getattr(released, key) == value, key
    assert released.keeps is Keeps.ITS_OWN_COUNT
    assert METHODS.make_one(name).keeps is Keeps.IMAGES


@pytest.mark.parametrize("spec", ["random", "graphcut", "dq", "adq"])
def test_an_edition_is_nothing_but_its_parameters(spec, digits, context):
    few = digits.subset(np.arange(300))
    more = {"random": "", "graphcut": f",{SMALL}"}.get(spec, f",bins=2,{SMALL}")
    name = f"{spec}[edition=released{more}]"
    released = METHODS.make_one(name)
    spelled = dataclasses.replace(released, edition="paper")
    by_edition = released.compress(few, EIGHTH, context())
    by_parameters = spelled.compress(few, EIGHTH, context())
    assert by_parameters.indices.tolist() == by_edition.indices.tolist()
    assert spelled.identity() != released.identity()


DIFFERENCES = [
    "random[balance=false]",
    "random[rounding=released]",
    "random[draw=released]",
    "graphcut[embedding=gradients]",
    "graphcut[embedding=gradients,loss=double-softmax]",
    "graphcut[embedding=gradients,head=random]",
    "graphcut[kernel=cosine]",
    "graphcut[kernel=cosine,greedy=released]",
    "graphcut[balance=false]",
    "graphcut[rounding=released]",
    "dq[embedding=gradients,kernel=cosine]",
    "dq[embedding=gradients,kernel=cosine,greedy=released]",
    "dq[balance=false]",
    "dq[class_quota=false]",
    "dq[balance=false,class_quota=false,rounding=released]",
    "dq[draw=released]",
    "dq[rounding=released]",
    "adq[class_quota=false,draw=released]",
    "adq[rounding=floor]",
    "adq[rounding=released]",
    "adq[shares=literal]",
    "adq[shares=product]",
    "adq[shares=position-segments,scores=released,class_quota=false]",
    "adq[shares=position-segments,scores=none,class_quota=false,rounding=floor,bins=1]",
    "adq[scores=released,bins=10]",
    "adq[scores=released,bins=4]",
    "adq[diversity=gram,scores=ds]",
]


@pytest.mark.parametrize("spec", DIFFERENCES)
def test_each_difference_is_a_parameter_of_its_own_and_gives_a_sound_set(spec, noise, context):
    small = "" if spec.startswith("random") else f",{SMALL}"
    method = METHODS.make_one(spec.replace("]", f"{small}]"))
    for percent in ("10", "41.3", "100"):
        budget = Budget.parse(percent)
        compressed = method.compress(noise, budget, context())
        compressed.check(noise, budget, method.keeps)
        if compressed.bin_counts:
            assert sum(compressed.bin_counts) == len(compressed)
        if method.keeps is Keeps.ITS_OWN_COUNT and method.budgeted:
            assert compressed.notes["kept_images"] == len(compressed)
            assert compressed.notes["asked_images"] == budget.images(len(noise))


def test_the_declared_artefacts_are_those_that_are_read(noise, context):
    kinds = {}
    for spec in (
        "graphcut[edition=released]",
        "dq[edition=released,bins=2]",
        "adq[edition=released,bins=2]",
        "adq[edition=released-intended,bins=4]",
    ):
        ctx = context()
        method = METHODS.make_one(spec.replace("]", f",{SMALL}]"))
        declared = {artefact.id for artefact in method.artefacts(noise, ctx)}
        method.compress(noise, EIGHTH, ctx)
        assert declared <= set(ctx.costs)
        kinds[spec] = {cost["kind"] for cost in ctx.costs.values()}
    vectors = {"extractor", "embeddings", "residuals"}
    assert kinds["graphcut[edition=released]"] == vectors
    assert kinds["dq[edition=released,bins=2]"] == vectors | {"bins"}
    assert kinds["adq[edition=released,bins=2]"] == vectors | {"bins"}
    scores = {"bins", "texture", "gram vectors", "scores"}
    assert kinds["adq[edition=released-intended,bins=4]"] == vectors | scores


# Wrong use


def test_weights_that_cannot_be_had_are_told_with_the_way_out(noise, context, monkeypatch):
    from bench.models import pretrained

    def offline(url):
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained, "_ask", offline)
    with pytest.raises(UsageError, match=r"resnet18.tv_in1k.*no route(.|\n)*extractor=resnet8"):
        METHODS.make_one("dq[edition=released]").compress(noise, EIGHTH, context())


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("dq[greedy=released]", "kernel=cosine"),
        ("graphcut[greedy=released]", "greedy=exact"),
        ("adq[edition=released,scores=rs]", "scores=released or none"),
        ("adq[edition=released,class_quota=true]", "class_quota=false"),
        ("adq[edition=literal,scores=none]", "scores=rs"),
        ("dq[edition=literal]", "paper or released"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(spec, hint):
    with pytest.raises(UsageError, match=hint):
        METHODS.make_one(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "random[balance=false]",
        "random[rounding=released]",
        "graphcut[balance=false,extractor_epochs=0]",
        "dq[class_quota=false,extractor_epochs=0]",
        "dq[rounding=released,extractor_epochs=0]",
    ],
)
def test_what_knows_no_classes_refuses_classes_with_shares_of_their_own(spec, noise, context):
    budget = ClassBudget.of_classes([4, 3, 3], len(noise))
    with pytest.raises(UsageError, match="class"):
        METHODS.make_one(spec).compress(noise, budget, context())


# random


def test_released_random_is_that_of_uniform_py(digits, context):
    before = np.random.get_state()
    try:
        np.random.seed(3)
        expected = np.concatenate([
            np.random.choice(np.flatnonzero(digits.labels == label), count, replace=False)
            for label, count in enumerate(rounded_by_class(digits.labels, 0.125))
        ])  # fmt: skip
    finally:
        np.random.set_state(before)
    kept = METHODS.make_one("random[edition=released]").compress(digits, EIGHTH, context(3))
    assert kept.indices.tolist() == expected.tolist()


def test_unbalanced_random_takes_the_lowest_priorities_of_all(digits, context):
    unbalanced = METHODS.make_one("random[balance=false]")
    small = unbalanced.compress(digits, EIGHTH, context()).indices
    large = unbalanced.compress(digits, Budget.parse("50"), context()).indices
    assert large[: len(small)].tolist() == small.tolist()
    counts = np.bincount(digits.labels[small], minlength=10)
    assert counts.sum() == EIGHTH.images(len(digits))
    assert counts.tolist() != EIGHTH.images_by_class(digits.class_counts).tolist()


# graphcut and dq


def test_released_graphcut_keeps_rounded_classes_sorted(digits, context):
    method = METHODS.make_one(f"graphcut[edition=released,{SMALL}]")
    picks = method.compress(digits, EIGHTH, context()).indices
    labels = digits.labels[picks]
    assert np.bincount(labels).tolist() == rounded_by_class(digits.labels, 0.125)
    for label in range(10):
        assert (np.diff(picks[labels == label]) > 0).all()


def test_released_and_exact_picks_differ_by_near_ties_only(digits, context):
    few = digits.subset(np.arange(400))
    specs = [f"graphcut[kernel=cosine,greedy={greedy},{SMALL}]" for greedy in ("released", "exact")]
    released, exact = (METHODS.make_one(s).compress(few, EIGHTH, context()).indices for s in specs)
    assert len(set(released) & set(exact)) > 0.9 * len(exact)


def test_released_dq_rounds_every_class_of_every_bin(digits, context):
    method = METHODS.make_one(f"dq[edition=released,bins=4,{SMALL}]")
    ctx = context()
    compressed = method.compress(digits, EIGHTH, ctx)
    bins = split_bins(method.bins_of(digits, ctx))
    expected = [sum(rounded_by_class(digits.labels[one], 0.125)) for one in bins]
    assert list(compressed.bin_counts) == expected
    assert compressed.notes["search"] == ["released"]
    assert sorted(np.concatenate(bins).tolist()) == list(range(len(digits)))
    assert (np.diff(bins[-1]) > 0).all()  # the last bin is what is left, in the order of positions


def released_graphcut(rows, budget):
    """NaiveGreedy on the released GraphCut: float32 cosines, sums over the picks for every gain."""
    unit_of = np.linalg.norm(rows, axis=1)
    similar = 0.5 + 0.5 * (rows @ rows.copy().T) / (unit_of[:, None] * unit_of)
    total = np.sum(similar[:, np.ones(len(rows), bool)], axis=0)  # the copy's layout decides bits
    picked = np.zeros(len(rows), bool)
    for _ in range(budget):
        left = np.flatnonzero(~picked)
        gain = -2.0 * np.sum(similar[np.ix_(picked, ~picked)], axis=0) + total[left]
        picked[left[gain.argmax()]] = True
    return np.flatnonzero(picked)


def quantize_sample(rows, labels, bins):
    """The released bins: recursively, each class on its own, the last bin what is left."""
    left, found, size = np.arange(len(rows)), [], round(len(rows) / bins)
    for _ in range(bins - 1):
        fraction, picks = size / len(left), []
        for label in range(labels.max() + 1):
            pool = left[labels[left] == label]
            picks.append(pool[released_graphcut(rows[pool], round(fraction * len(pool)))])
        found.append(np.concatenate(picks))
        left = np.setdiff1d(left, found[-1])
    return [*found, left]


def test_released_dq_is_the_released_scripts_one_after_the_other(digits, context):
    few = digits.subset(np.arange(240))
    method = METHODS.make_one("dq[edition=released,bins=4,extractor=resnet8[width=4]]")
    ctx = context(5)
    rows = method.vectors(method.vector_artefacts(few, ctx)).rows(np.arange(240))
    assert rows.shape == (240, 10 * 17)
    kept = []
    for one in quantize_sample(rows, few.labels, 4):
        state = np.random.RandomState(5)
        for label in range(10):
            members = one[few.labels[one] == label]
            kept += state.choice(members, round(0.3 * len(members)), replace=False).tolist()
    assert method.compress(few, Budget.parse("30"), ctx).indices.tolist() == kept


@pytest.mark.parametrize("name", ["graphcut", "dq"])
def test_records_say_how_the_picks_were_found(name, noise, context):
    released = METHODS.make_one(f"{name}[edition=released,{SMALL}]")
    third = Budget.parse("33")
    assert released.compress(noise, third, context()).notes["search"] == ["released"]
    compressed = METHODS.make_one(f"{name}[{SMALL}]").compress(noise, EIGHTH, context())
    assert compressed.notes["search"]
    assert set(compressed.notes["search"]) <= {"matrix", "products"}
    assert compressed.notes["smallest_gap"] is None or compressed.notes["smallest_gap"] >= 0


def test_an_unbalanced_pool_gives_the_bins_of_the_whole_set(noise, context):
    method = METHODS.make_one(f"dq[balance=false,{SMALL}]")
    ctx = context()
    features = method.embeddings(noise, ctx)["features"]
    expected = graphcut_bins(features, None, 10, "sqeuclidean", balance=False)
    found = split_bins(method.bins_of(noise, ctx))
    assert [one.tolist() for one in found] == [one.tolist() for one in expected]


@pytest.mark.parametrize("spec", ["adq[edition=literal,alpha=0,bins=17]", "dq[rounding=released]"])
def test_a_reading_that_keeps_nothing_is_told(spec, noise, context):
    even = noise.subset(np.concatenate([np.flatnonzero(noise.labels == n)[:17] for n in range(3)]))
    method = METHODS.make_one(spec.replace("]", f",{SMALL}]"))
    with pytest.raises(UsageError, match="take fewer bins"):
        method.compress(even, Budget.parse("2"), context())


def test_a_class_without_images_does_no_harm(noise, context):
    two = noise.subset(np.flatnonzero(noise.labels != 1))
    more = {
        "random": "",
        "graphcut": f",{SMALL}",
        "dq": f",bins=2,{SMALL}",
        "adq": f",bins=2,{SMALL}",
    }
    for name, parameters in more.items():
        method = METHODS.make_one(f"{name}[edition=released{parameters}]")
        compressed = method.compress(two, Budget.parse("50"), context())
        compressed.check(two, Budget.parse("50"), method.keeps)


def test_nothing_touches_the_global_generators(noise, context):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for spec in ("adq[diversity=gram]", "graphcut[edition=released]"):
        method = METHODS.make_one(
            spec.replace("]", ",extractor=resnet8[width=4],extractor_epochs=1]")
        )
        method.compress(noise, EIGHTH, context())
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()
