"""The released edition's picks against a plain rewriting of the released algorithm."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from methods.parts import released_greedy
from methods.parts.gradients import Gradients
from methods.parts.released_greedy import released_bins, released_order


def plain_cosine(one, other):
    """`cossim_np`: 1/2 + 1/2 cosine, minus infinity taken for 0."""
    product = np.dot(one, other.T)
    lengths = np.linalg.norm(one, axis=1).reshape(-1, 1) * np.linalg.norm(other, axis=1)
    cosine = product / lengths
    cosine[np.isneginf(cosine)] = 0.0
    return 0.5 + 0.5 * cosine


class PlainGraphCut:
    """`GraphCut` with its cache of columns, which one call fills here."""

    def __init__(self, rows):
        n = len(rows)
        self.rows, self.everything = rows, np.ones(n, bool)
        self.similar, self.sums = np.zeros((n, n), np.float32), np.zeros(n, np.float32)
        self.known = np.zeros(n, bool)

    def between(self, some, others):
        if not self.known[others].all():
            new = others & ~self.known
            self.similar[:, new] = plain_cosine(self.rows[self.everything], self.rows[new])
            self.sums[new] = np.sum(self.similar[:, new], axis=0)
            self.known[new] = True
        return self.similar[np.ix_(some, others)]

    def gains(self, open_, picked):
        return -2.0 * np.sum(self.between(picked, open_), axis=0) + 1.0 * self.sums[open_]


def plain_order(rows, budget):
    """`NaiveGreedy.select`: float32 gains in a float64 vector, all anew for every pick."""
    function, n = PlainGraphCut(rows), len(rows)
    picked, gain = np.zeros(n, bool), np.zeros(n)
    with np.errstate(all="ignore"):
        for _ in range(budget):
            gain[~picked] = function.gains(~picked, picked)
            best = gain.argmax()
            picked[best], gain[best] = True, -np.inf
    return np.flatnonzero(picked)


def plain_bins(rows_of, labels, bins):
    """`quantize_sample.py` and `Submodular.finish_run`, class by class."""
    available, found = np.arange(len(labels)), []
    coreset = round(len(labels) * (1 / bins))
    for _ in range(bins - 1):
        fraction, result = coreset / len(available), np.array([], np.int64)
        for c in range(labels.max() + 1):
            positions = np.arange(len(available))[labels[available] == c]
            rows = rows_of(available[positions])
            chosen = plain_order(rows, round(fraction * len(positions)))
            result = np.append(result, positions[chosen])
        found.append(available[result])
        available = np.delete(available, result)
    return [*found, available]


def vectors(kind, n, d, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    if kind == "trained":
        x = np.maximum(x + 0.5, 0)
    elif kind == "near ties":
        x = x[rng.integers(0, n // 5, n)] + 1e-5 * x
    elif kind == "duplicates":
        x = x[rng.integers(0, n // 3, n)]
    elif kind == "opposites":
        x[1::2] = -x[: n - n // 2][: n // 2]
    elif kind == "one direction":  # all similarities round to 1 or next to it
        x = 1 + 1e-4 * x
    elif kind == "zero row":
        x[n // 2] = 0
    elif kind == "huge rows":  # some products overflow, and some sums are not numbers
        x[:: n // 4] *= 1e25
    return x.astype(np.float32)


def gradients(n, classes, d, seed=0):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, classes))
    residuals = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    residuals[np.arange(n), rng.integers(0, classes, n)] -= 1
    return Gradients(residuals.astype(np.float32), vectors("trained", n, d, seed + 1))


KINDS = (
    "isotropic",
    "trained",
    "near ties",
    "duplicates",
    "opposites",
    "one direction",
    "zero row",
    "huge rows",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(200, 16), (301, 200), (64, 3), (520, 33)])
def test_picks_are_those_of_the_plain_algorithm(kind, n, d):
    x = vectors(kind, n, d)
    for budget in (1, n // 10, n // 2, n - 1, n):
        assert released_order(x, budget).tolist() == plain_order(x, budget).tolist()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 6),
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 5, 10**6]),
    st.data(),
)
def test_picks_of_coarse_rows_full_of_ties(n, d, seed, levels, data):
    rng = np.random.default_rng(seed)
    x = np.round(levels * rng.standard_normal((n, d))).astype(np.float32)
    budget = data.draw(st.integers(1, n))
    assert released_order(x, budget).tolist() == plain_order(x, budget).tolist()


@pytest.mark.parametrize("kind", ["trained", "near ties"])
def test_a_large_pool_and_a_large_budget(kind):
    x = vectors(kind, 1500, 64)
    assert released_order(x, 700).tolist() == plain_order(x, 700).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("d", [512, 5130])
def test_all_bins_of_a_class_of_cifar10(d):
    x = vectors("trained", 5000, d)
    labels = np.zeros(5000, np.int64)
    got = released_bins(x, labels, 10)
    for mine, theirs in zip(got, plain_bins(lambda i: x[i], labels, 10), strict=True):
        assert mine.tolist() == theirs.tolist()


@pytest.mark.parametrize("bins", [1, 2, 3, 10])
def test_bins_are_those_of_the_plain_algorithm(bins):
    labels = np.random.default_rng(1).integers(0, 3, 407)
    x = vectors("trained", 407, 20)
    got, expected = released_bins(x, labels, bins), plain_bins(lambda i: x[i], labels, bins)
    assert [b.tolist() for b in got] == [b.tolist() for b in expected]
    assert all(b.dtype == np.int64 for b in got)


def test_bins_of_gradients_are_those_of_their_rows():
    g, labels = gradients(300, 4, 12), np.arange(300) % 4
    full = g.rows()
    expected = plain_bins(lambda i: full[i], labels, 5)
    assert [b.tolist() for b in released_bins(g, labels, 5)] == [b.tolist() for b in expected]
    assert [b.tolist() for b in released_bins(full, labels, 5)] == [b.tolist() for b in expected]
    assert released_order(g, 40).tolist() == plain_order(full, 40).tolist()


def test_bins_are_grouped_by_class_sorted_and_sized_by_halves_to_even():
    labels = np.repeat([0, 1, 2], [25, 35, 40])
    got = released_bins(vectors("isotropic", 100, 5), labels, 10)
    assert np.bincount(labels[got[0]]).tolist() == [2, 4, 4]  # 2.5 and 3.5 round to even
    for part in got[:-1]:
        order = np.lexsort((part, labels[part]))
        assert (order == np.arange(len(part))).all()
    assert (np.diff(got[-1]) > 0).all()
    assert sorted(np.concatenate(got).tolist()) == list(range(100))


def test_gradients_give_the_released_bins():
    g, labels = gradients(1300, 10, 32), np.zeros(1300, np.int64)
    released, full = released_bins(g, labels, 10), g.rows()
    expected = plain_bins(lambda i: full[i], labels, 10)
    assert [b.tolist() for b in released] == [b.tolist() for b in expected]


def test_the_bound_holds_and_leaves_few_candidates():
    x = vectors("trained", 800, 64)
    kernel = released_greedy._kernel(x)
    total = np.sum(np.asfortranarray(kernel), axis=0)
    start = total.astype(np.float64) / 2
    bound = released_greedy._Bound(kernel, start)
    picked, gain, rivals = np.zeros(800, bool), start.copy(), 0
    for count in range(400):
        open_ = np.flatnonzero(~picked)
        rounded = released_greedy._released_gains(kernel, total, picked, open_).astype(np.float64)
        error = bound.error(count, gain[open_].max())
        near = gain[open_] >= gain[open_].max() - 2 * error
        assert np.abs(rounded / 2 - gain[open_])[near].max() < error
        rivals += near.sum()
        best = open_[rounded.argmax()]
        assert near[rounded.argmax()]
        picked[best] = True
        gain -= kernel[best]
    assert rivals < 2 * 400


def test_a_class_without_a_pick_is_refused():
    x, labels = vectors("isotropic", 44, 4), np.repeat([0, 1], [40, 4])
    with pytest.raises(UsageError, match=r"bin 0 gets 0 of 4 images of class 1; .* fewer bins"):
        released_bins(x, labels, 10)


@pytest.mark.parametrize(
    ("n", "bins", "told"), [(30, 40, "bin 30 finds 0"), (85, 50, "bin 42 finds 1")]
)
def test_bins_that_rounding_leaves_without_images_are_refused(n, bins, told):
    with pytest.raises(UsageError, match=rf"{told} left, .* fewer bins"):
        released_bins(vectors("isotropic", n, 4), np.zeros(n, int), bins)


@pytest.mark.parametrize("budget", [0, -1, 5])
def test_a_budget_beyond_the_pool_is_refused(budget):
    with pytest.raises(
        UsageError, match=rf"{budget} images of a pool of 4: .* gives 1 to 4\. Take"
    ):
        released_order(np.eye(4, dtype=np.float32), budget)


@pytest.mark.parametrize(("n", "width"), [(400, 1100), (700, 110)])
@pytest.mark.parametrize("as_gradients", [False, True])
def test_a_pool_that_does_not_fit_into_memory_is_refused(n, width, as_gradients, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.random((n, width), np.float32)
    if as_gradients:
        x = Gradients(rng.random((n, 10), np.float32), rng.random((n, width // 10 - 1), np.float32))
    needed = 4 * n * max(2 * width + n, width + 2 * n)
    tracemalloc.start()
    released_bins(x, np.zeros(n, int), 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.9 * needed < peak < 1.1 * needed

    monkeypatch.setattr("bench.resources.available_memory", lambda: needed)
    released_order(x, 3)
    released_bins(x, np.zeros(n, int), 3)
    monkeypatch.setattr("bench.resources.available_memory", lambda: needed - 1)
    told = rf"pairs of a pool: {n} vectors of [\d,]+ numbers take .* free\. Take greedy=exact"
    with pytest.raises(UsageError, match=told):
        released_order(x, 3)
    with pytest.raises(UsageError, match=told):
        released_bins(x, np.zeros(n, int), 3)
    released_bins(x, np.arange(n) % 2, 3)


def test_other_types_and_shapes_are_refused():
    with pytest.raises(ValueError, match=r"vectors: float64 \[4, 4\]; allowed: float32"):
        released_order(np.eye(4), 1)
    with pytest.raises(ValueError, match="bins: 0; allowed: 1 or more"):
        released_bins(np.eye(4, dtype=np.float32), np.zeros(4), 0)
    with pytest.raises(ValueError, match=r"labels: shape \(3,\); allowed: \(4,\)"):
        released_bins(np.eye(4, dtype=np.float32), np.zeros(3), 2)
