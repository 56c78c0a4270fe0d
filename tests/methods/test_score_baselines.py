"""Baselines on training dynamics, against their definitions written out plainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.budgets import Budget
from bench.contract import METHODS, ImageDataset
from bench.errors import UsageError
from methods.ccs import equal_shares, stratum_of
from methods.parts import knn
from methods.parts.draws import priorities
from methods.parts.knn import nearest_neighbours, neighbour_graph
from methods.parts.ranking import easiest, highest

SMALL = "extractor=resnet8[width=4],epochs=4"
SPECS = {
    "forgetting": f"forgetting[{SMALL}]",
    "el2n": f"el2n[{SMALL},score_epoch=2]",
    "grand": f"grand[{SMALL},score_epoch=2]",
    "ccs": f"ccs[{SMALL}]",
    "d2": f"d2[{SMALL}]",
}


@pytest.fixture
def few(digits):
    return digits.subset(np.arange(150))


def told(monkeypatch, **arrays):
    """Have the methods read these arrays instead of a recorded run."""
    monkeypatch.setattr(
        "methods.parts.ranking.DynamicsMethod.dynamics", lambda self, train, ctx, run=0: arrays
    )


def images_of(labels, classes=2):
    n = len(labels)
    return ImageDataset(
        images=np.zeros((n, 8, 8, 3), dtype=np.uint8),
        labels=np.asarray(labels, dtype=np.int64),
        classes=tuple("abc"[:classes]),
        keys=tuple(f"{number:03d}" for number in range(n)),
    )


@pytest.mark.parametrize("balance", ["true", "false"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_budget_is_met_exactly_and_classes_keep_their_share(spec, balance, noise, context):
    method = METHODS.make_one(f"{spec[:-1]},balance={balance}]")
    for percent in ("3", "33.3", "85", "100"):
        budget = Budget.parse(percent)
        compressed = method.compress(noise, budget, context())
        compressed.check(noise, budget, method.keeps)
        kept = np.bincount(noise.labels[compressed.indices], minlength=3)
        if balance == "true":
            assert kept.tolist() == budget.images_by_class(noise.class_counts).tolist()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_classes_with_one_image_or_none_do_no_harm(spec, noise, context):
    members = [np.flatnonzero(noise.labels == label) for label in range(3)]
    odd = noise.subset(np.concatenate([members[0][:1], members[2]]))
    for percent in ("10", "100"):
        budget = Budget.parse(percent)
        method = METHODS.make_one(spec)
        method.compress(odd, budget, context()).check(odd, budget, method.keeps)


@pytest.mark.parametrize("name", ["forgetting", "el2n", "grand", "d2"])
def test_a_smaller_budget_takes_the_first_picks(name, few, context):
    method = METHODS.make_one(SPECS[name][:-1] + ",balance=false]")
    small, large = (
        method.compress(few, Budget.parse(percent), context()).indices for percent in ("10", "30")
    )
    assert large[: len(small)].tolist() == small.tolist()


def test_forgetting_keeps_the_never_learned_and_then_the_most_forgotten(monkeypatch, context):
    correct = np.array(
        [  # images: learned, forgotten once, never learned, forgotten twice, never learned, once
            [1, 1, 0, 1, 0, 0],
            [1, 0, 0, 0, 0, 1],
            [1, 1, 0, 1, 0, 0],
            [1, 1, 0, 0, 0, 0],
        ],
        dtype=bool,
    )
    told(monkeypatch, correct=correct)
    method = METHODS.make_one("forgetting[balance=false]")
    kept = method.compress(images_of([0] * 6), Budget.parse("100"), context()).indices
    assert kept.tolist() == [2, 4, 3, 1, 5, 0]


@pytest.mark.parametrize("name", ["el2n", "grand"])
def test_early_scores_keep_the_highest_of_their_epoch(name, few, context):
    ctx = context()
    method = METHODS.make_one(SPECS[name])
    row = method.dynamics(few, ctx)[method.measure][1]
    expected = []
    for label, count in enumerate(Budget.parse("20").images_by_class(few.class_counts)):
        members = [i for i in range(len(few)) if few.labels[i] == label]
        expected += sorted(members, key=lambda i: -row[i])[:count]
    assert method.compress(few, Budget.parse("20"), ctx).indices.tolist() == expected


@pytest.mark.parametrize("name", SPECS)
def test_balance_changes_nothing_for_one_class(name, context, noise):
    alike = ImageDataset(noise.images, np.zeros(80, dtype=np.int64), ("one",), noise.keys)
    kept = [
        METHODS.make_one(f"{SPECS[name][:-1]},balance={balance}]")
        .compress(alike, Budget.parse("25"), context())
        .indices.tolist()
        for balance in ("true", "false")
    ]
    assert kept[0] == kept[1]


def test_a_score_after_the_last_epoch_is_refused_when_the_method_is_made():
    with pytest.raises(UsageError, match="score_epoch=10 comes after the last of epochs=5"):
        METHODS.make_one("el2n[epochs=5]")


scores = st.lists(st.integers(-3, 3), min_size=1, max_size=40)


@given(scores, st.data())
def test_highest_are_sorted_with_ties_to_the_lowest_index(values, data):
    count = data.draw(st.integers(0, len(values)))
    found = highest(np.array(values, dtype=float), np.arange(len(values)), count).tolist()
    assert found == sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]


@given(scores, st.floats(0, 1), st.data())
def test_the_hardest_are_left_out_as_far_as_the_budget_allows(values, cutoff, data):
    n = len(values)
    count = data.draw(st.integers(0, n))
    left = easiest(np.array(values, dtype=float), np.arange(n), cutoff, count).tolist()
    out = [i for i in range(n) if i not in left]
    assert left == sorted(left)
    assert len(left) >= count
    assert len(out) <= cutoff * n + 1e-6
    assert len(left) == count or len(out) + 1 > cutoff * n - 1e-6
    assert not out or max(values[i] for i in out) <= min((values[i] for i in left), default=3)


def plain_shares(sizes, total):
    """The smallest stratum first; each gets an equal share of what is left, or all it has."""
    waiting = sorted(range(len(sizes)), key=lambda s: (sizes[s], s))
    quota = {}
    while waiting:
        share = (total - sum(quota.values())) // len(waiting)
        stratum = waiting.pop(0)
        quota[stratum] = min(share, sizes[stratum])
    return [quota[s] for s in range(len(sizes))]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.data())
def test_equal_shares_are_those_of_the_rule_and_sum_to_the_budget(sizes, data):
    total = data.draw(st.integers(0, sum(sizes)))
    quota = equal_shares(sizes, total)
    assert quota.tolist() == plain_shares(sizes, total)
    assert quota.sum() == total
    assert (quota <= sizes).all()
    unmet = quota[quota < sizes]
    assert not len(unmet) or unmet.max() - unmet.min() <= 1
    assert not len(unmet) or quota.max() <= unmet.max() + 1


@pytest.mark.parametrize("shift", [0.0, -5.0, 0.5])
def test_strata_are_the_released_ranges_and_lose_no_image(shift):
    values = np.random.default_rng(0).normal(size=500) + shift
    step = (values.max() + 1e-4 * abs(values.max()) - values.min()) / 50
    expected = [
        [k for k in range(50) if values.min() + k * step <= v < values.min() + (k + 1) * step]
        for v in values
    ]
    assert [[s] for s in stratum_of(values, 50).tolist()] == expected


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(1, 60))
def test_strata_hold_every_value_in_order(values, strata):
    found = stratum_of(np.array(values), strata)
    assert 0 <= found.min() <= found.max() < strata
    assert (np.diff(found[np.argsort(values)]) >= 0).all()


def test_ccs_draws_the_lowest_priorities_of_every_stratum(monkeypatch, context):
    margin = np.random.default_rng(1).uniform(-1, 1, (3, 90)).astype(np.float32)
    told(monkeypatch, margin=margin)
    train, ctx = images_of([0, 1] * 45), context()
    method = METHODS.make_one("ccs[cutoff=0.2,strata=7]")
    kept = method.compress(train, Budget.parse("30"), ctx).indices
    aum, priority = margin.mean(0, dtype=float), priorities(train, ctx)
    for label, count in enumerate(Budget.parse("30").images_by_class(train.class_counts)):
        left = sorted(np.flatnonzero(train.labels == label), key=lambda i: aum[i])[9:]
        low = aum[left].min()
        width = (aum[left].max() + 1e-4 * abs(aum[left].max()) - low) / 7
        strata = [[i for i in left if int((aum[i] - low) / width) == s] for s in range(7)]
        quota = plain_shares([len(one) for one in strata], count)
        expected = {
            i
            for one, share in zip(strata, quota, strict=True)
            for i in sorted(one, key=lambda i: priority[i])[:share]
        }
        assert set(kept[train.labels[kept] == label]) == expected


def test_ccs_of_one_stratum_without_a_cutoff_is_random(few, context):
    ccs = METHODS.make_one(f"ccs[{SMALL},cutoff=0,strata=1]")
    random = METHODS.make_one("random")
    kept = [m.compress(few, Budget.parse("20"), context()).indices for m in (ccs, random)]
    assert kept[0].tolist() == kept[1].tolist()


def plain_neighbours(x, k):
    """k nearest others of each point; ties to the lowest index."""
    found = []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        found.append(sorted(others, key=lambda j: (((x[i] - x[j]) ** 2).sum(), j))[:k])
    return found


@pytest.mark.parametrize("entries", [2**23, 100])
@pytest.mark.parametrize("kind", ["normal", "grid", "alike", "far away"])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_neighbours_are_those_of_brute_force(entries, kind, k, monkeypatch):
    monkeypatch.setattr(knn, "_ENTRIES", entries)
    rng = np.random.default_rng(2)
    points = {
        "normal": rng.normal(size=(40, 6)),
        "grid": rng.integers(0, 3, (40, 2)) * 0.1,
        "alike": np.ones((40, 3)),
        "far away": rng.normal(size=(40, 3)) + 1e4,
    }[kind]
    exact = np.round(points, 6)
    found, squared = nearest_neighbours(exact, k)
    rounded = np.round(exact / 0.1) if kind == "grid" else exact
    assert found.tolist() == plain_neighbours(rounded, k)
    expected = ((exact[:, None] - exact[found]) ** 2).sum(2)
    np.testing.assert_allclose(squared, expected, rtol=1e-9, atol=1e-15)


def test_a_graph_joins_both_ways_and_each_pair_once():
    points = np.random.default_rng(3).normal(size=(30, 4))
    graph = neighbour_graph(points, 3)
    pairs = list(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    near = plain_neighbours(points, 3)
    assert pairs == sorted({(i, j) for i in range(30) for j in range(30) if j in near[i]}
                           | {(j, i) for i in range(30) for j in near[i]})  # fmt: skip
    for i in range(30):
        assert (graph.source[graph.starts[i] : graph.starts[i + 1]] == i).all()


def plain_d2(x, difficulty, k, forward, reverse, power, count):
    n, near = len(x), plain_neighbours(x, k)
    distance = np.linalg.norm(x[:, None] - x, axis=2) ** power
    joined = [[j in near[i] or i in near[j] for j in range(n)] for i in range(n)]
    value = [
        difficulty[i]
        + sum(np.exp(-forward * distance[i, j]) * difficulty[j] for j in range(n) if joined[i][j])
        for i in range(n)
    ]
    picked = []
    while len(picked) < count:
        best = max((i for i in range(n) if i not in picked), key=lambda i: (value[i], -i))
        taken = value[best]
        for j in range(n):
            if joined[best][j]:
                value[j] -= np.exp(-reverse * distance[best, j]) * taken
        picked.append(best)
    return picked


@pytest.mark.parametrize(("kernel", "power"), [("gaussian", 2), ("exponential", 1)])
@pytest.mark.parametrize(("k", "forward", "reverse"), [(1, 1, 0.1), (5, 0.3, 1), (80, 2, 0)])
def test_d2_picks_are_those_of_the_plain_loop(kernel, power, k, forward, reverse):
    rng = np.random.default_rng(k)
    x, difficulty = rng.normal(size=(60, 3)), rng.integers(0, 6, 60) + rng.random(60)
    method = METHODS.make_one(
        f"d2[k={k},gamma_forward={forward},gamma_reverse={reverse},kernel={kernel}]"
    )
    found = method.select(neighbour_graph(x, k), difficulty, 60).tolist()
    assert found == plain_d2(x, difficulty, k, forward, reverse, power, 60)


def test_d2_without_messages_ranks_by_forgetting(few, context):
    d2 = METHODS.make_one(f"d2[{SMALL},gamma_forward=1e12,gamma_reverse=1e12,cutoff=0]")
    forgetting = METHODS.make_one(SPECS["forgetting"])
    kept = [m.compress(few, Budget.parse("20"), context()).indices for m in (d2, forgetting)]
    assert kept[0].tolist() == kept[1].tolist()


def test_d2_takes_one_of_two_twins_before_the_other(monkeypatch, context):
    features = np.array([[0, 0], [0, 0], [9, 9], [9, 9]], dtype=np.float32)
    correct = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]], dtype=bool)
    told(monkeypatch, features=features, correct=correct, margin=np.zeros((4, 4)))
    method = METHODS.make_one("d2[k=1,balance=false]")
    kept = method.compress(images_of([0] * 4), Budget.parse("50"), context()).indices
    assert kept.tolist() == [0, 2]


def test_d2_leaves_out_the_hardest_of_every_class(monkeypatch, context):
    rng = np.random.default_rng(4)
    margin = rng.uniform(-1, 1, (3, 40))
    correct, features = rng.random((3, 40)) < 0.5, rng.normal(size=(40, 3))
    told(monkeypatch, margin=margin, correct=correct, features=features)
    train = images_of([0, 1] * 20)
    method = METHODS.make_one("d2[cutoff=0.5]")
    kept = method.compress(train, Budget.parse("50"), context()).indices
    for label in range(2):
        members = sorted(range(label, 40, 2), key=lambda i: margin[:, i].mean())
        assert set(kept[train.labels[kept] == label]) == set(members[10:])
