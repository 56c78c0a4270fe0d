"""Gradients by their factors against the same gradients multiplied out, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selections import graphcut_bins, graphcut_order

from methods.parts import points
from methods.parts.exact_gain import ExactGain, MatrixGain
from methods.parts.gradients import Gradients
from methods.parts.greedy import Search
from methods.parts.kernel_rows import FetchedRows, MatrixRows
from methods.parts.points import GradientPoints, points_of
from methods.parts.submodular import graphcut_binning

KERNELS = ("cosine", "sqeuclidean")
LIMITS = {"matrix": 2**40, "products": 0}
EPS = np.finfo(np.float64).eps


def gradients(n, classes, d, seed=0, sharpness=2.0):
    """Residuals of a softmax and features that are not negative, as a trained network has them."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.standard_normal((n, classes))
    logits[:, 0] += 2
    residuals = np.exp(logits - logits.max(1, keepdims=True))
    residuals /= residuals.sum(1, keepdims=True)
    residuals[:, 0] -= 1
    features = np.maximum(rng.standard_normal((n, d)) + 0.5, 0)
    return Gradients(residuals.astype(np.float32), features.astype(np.float32))


def multiplied_out(g):
    p, e = g.residuals.astype(np.float64), g.features.astype(np.float64)
    return np.concatenate([p, (p[:, :, None] * e[:, None, :]).reshape(len(p), -1)], axis=1)


def reference(g, sizes, kernel):
    """Bins of one pool by definition, on gradients multiplied out in float64."""
    x = multiplied_out(g)
    if kernel == "sqeuclidean":
        pairs = -np.stack([((x - row) ** 2).sum(axis=1) for row in x])
    else:
        length = np.linalg.norm(x, axis=1)
        unit = x / np.where(length > 0, length, 1)[:, None]
        pairs = 0.5 + 0.5 * unit @ unit.T
    tolerance = 32 * EPS * len(x) * np.abs(pairs).max(initial=0)
    left, bins = np.arange(len(x)), []
    for size in sizes:
        gain, picks = pairs[left].sum(axis=0), []
        for _ in range(size):
            open_ = np.setdiff1d(left, picks)
            picks.append(int(open_[gain[open_] >= gain[open_].max() - tolerance].min()))
            gain = gain - 2 * pairs[picks[-1]]
        left = np.setdiff1d(left, picks)
        bins.append(picks)
    return bins


def bin_sizes(n, bins):
    return [n // bins] * (bins - 1) + [n - n // bins * (bins - 1)]


def search_of(g, kernel, dtype, rows):
    """A search with chosen parts; the rule for float64 factors aside."""
    pool = GradientPoints(g, kernel, dtype)
    made = rows(pool)
    exact = MatrixGain(pool, made) if dtype == np.float64 else ExactGain(pool)
    return Search(pool, made, exact)


def test_rows_are_the_bias_and_then_the_weights_class_by_class():
    g = gradients(7, 3, 4)
    full = g.rows()
    assert full.dtype == np.float32
    assert full.shape == (7, 3 * 5)
    for i in range(7):
        assert full[i, :3].tolist() == g.residuals[i].tolist()
        for c in range(3):
            expected = g.residuals[i, c] * g.features[i]
            assert full[i, 3 + 4 * c : 7 + 4 * c].tolist() == expected.tolist()
    some = np.array([5, 0])
    assert g.rows(some).tolist() == full[some].tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_products_of_gradients_come_from_their_factors(n, classes, d, seed):
    g = gradients(n, classes, d, seed)
    p, e = g.residuals.astype(np.float64), g.features.astype(np.float64)
    full = multiplied_out(g)
    np.testing.assert_allclose((p @ p.T) * (1 + e @ e.T), full @ full.T, rtol=1e-12, atol=1e-14)


def test_a_subset_is_that_of_both_factors():
    g = gradients(9, 3, 4)
    for some in (np.array([4, 2, 2]), np.arange(9) % 2 == 0, slice(2, 5)):
        part = g.subset(some)
        assert len(part) == len(g.residuals[some])
        assert part.rows().tolist() == g.rows()[some].tolist()
    assert len(g) == 9


@pytest.mark.parametrize(
    ("residuals", "features", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 2), "f"), r"residuals: float64 \[3, 2\]; allowed: float32"),
        (np.zeros((3, 2), "f"), np.zeros(3, "f"), r"features: float32 \[3\]; allowed"),
        (np.zeros((3, 0), "f"), np.zeros((3, 1), "f"), r"residuals: float32 \[3, 0\]; allowed"),
        (np.zeros((3, 2), "f"), np.zeros((4, 2), "f"), "3 residuals, 4 features; allowed: one of"),
    ],
)
def test_other_factors_are_refused(residuals, features, message):
    with pytest.raises(ValueError, match=message):
        Gradients(residuals, features)


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("n", "classes", "d", "bins"), [(300, 4, 16, 10), (257, 10, 3, 4), (60, 40, 30, 3)]
)
@pytest.mark.parametrize("sharpness", [0.5, 8.0])  # 8: most residuals are next to nothing
def test_bins_equal_the_float64_reference(sharpness, kernel, limit, n, classes, d, bins):
    g = gradients(n, classes, d, sharpness=sharpness)
    got = graphcut_bins(g, None, bins, kernel, balance=False, memory_limit=limit)
    assert [b.tolist() for b in got] == reference(g, bin_sizes(n, bins), kernel)


@pytest.mark.slow
@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_all_bins_of_a_class_of_cifar10_equal_the_float64_reference(limit):
    g = gradients(5000, 10, 512)
    got = graphcut_bins(g, None, 10, "cosine", balance=False, memory_limit=limit)
    assert [b.tolist() for b in got] == reference(g, bin_sizes(5000, 10), "cosine")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_precisions_of_the_matrix_find_the_same(kernel, dtype):
    g = gradients(400, 12, 20)
    pool = search_of(g, kernel, dtype, MatrixRows)
    got = [pool.next_bin(size).tolist() for size in bin_sizes(400, 7)]
    assert got == reference(g, bin_sizes(400, 7), kernel)


def test_the_matrix_is_double_where_sums_of_gradients_cost_more():
    assert points_of(gradients(50, 40, 30), "cosine").factors[0].dtype == np.float64
    assert points_of(gradients(500, 3, 5), "cosine").factors[0].dtype == np.float32


class CheckedSearch(Search):
    """A search that looks at the true error after every round of picks."""

    def _pick(self, count):
        super()._pick(count)
        error = np.abs(self.gain - self.truth.gains(self._ids))
        assert error[np.isfinite(self.gain)].max() < self.bound.slack(0) / 2


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("rows", [MatrixRows, FetchedRows])
@pytest.mark.parametrize("shape", [(900, 2, 3), (900, 30, 60)])
def test_rounding_stays_within_the_bound(shape, rows, kernel):
    pool = GradientPoints(gradients(*shape), kernel)
    checked = CheckedSearch(pool, rows(pool), ExactGain(pool))
    checked.truth = checked.exact
    for size in (100, 700):
        checked.next_bin(size)


@pytest.mark.parametrize("kernel", KERNELS)
def test_rounding_of_the_double_matrix_stays_within_the_bound(kernel):
    pool = GradientPoints(gradients(500, 30, 60), kernel, np.float64)
    rows = MatrixRows(pool)
    checked = CheckedSearch(pool, rows, MatrixGain(pool, rows))
    checked.truth = ExactGain(pool)
    checked.truth.picks = checked.exact.picks
    checked.next_bin(300)


@pytest.mark.parametrize("kernel", KERNELS)
def test_running_sums_and_the_double_matrix_give_the_same_gains(kernel):
    pool = GradientPoints(gradients(120, 30, 20), kernel, np.float64)
    sums, matrix = ExactGain(pool), MatrixGain(pool, MatrixRows(pool))
    for gain in (sums, matrix):
        gain.picks += [3, 77, 5]
        gain.next_bin()
        gain.picks += [8, 11]
    some = np.array([0, 119, 60])
    np.testing.assert_allclose(sums.gains(some), matrix.gains(some), rtol=1e-11)
    most = np.arange(1, 120)
    np.testing.assert_allclose(sums.many_gains(most), matrix.many_gains(most), rtol=1e-9)


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(150, 4, 6), (60, 30, 40)])
def test_of_duplicates_the_lowest_index_comes_first(shape, kernel, limit):
    rng = np.random.default_rng(3)
    source = rng.integers(0, shape[0], 3 * shape[0])
    g = gradients(*shape).subset(source)
    order = np.concatenate(graphcut_bins(g, None, 7, kernel, False, limit))
    place = np.argsort(order)
    for original in np.unique(source):
        assert (np.diff(place[source == original]) > 0).all()


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("shape", [(80, 4, 6), (40, 30, 40)])
def test_zero_residuals_have_cosine_zero(shape, limit):
    g = gradients(*shape)
    g.residuals[::7] = 0
    sizes = bin_sizes(shape[0], 4)
    got = graphcut_bins(g, None, 4, "cosine", balance=False, memory_limit=limit)
    assert [b.tolist() for b in got] == reference(g, sizes, "cosine")


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_unit_of_the_factors_does_not_matter(kernel):
    g = gradients(90, 5, 6)
    tiny = Gradients(g.residuals * np.float32(2.0**-100), g.features)
    one, other = (
        graphcut_bins(g, None, 3, kernel, False),
        graphcut_bins(tiny, None, 3, kernel, False),
    )
    assert [b.tolist() for b in one] == [b.tolist() for b in other]
    large = Gradients(g.residuals, g.features * np.float32(1e15))
    got = graphcut_bins(large, None, 3, kernel, False)
    assert [b.tolist() for b in got] == reference(large, bin_sizes(90, 3), kernel)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([-7, 2, 40]), min_size=1, max_size=40),
    st.integers(1, 12),
    st.sampled_from(KERNELS),
    st.sampled_from([(2, 3), (12, 9)]),
)
def test_bins_partition_the_set_class_by_class(labels, bins, kernel, shape):
    labels = np.array(labels, np.int64)
    got = graphcut_bins(gradients(len(labels), *shape), labels, bins, kernel)
    assert sorted(np.concatenate(got).tolist()) == list(range(len(labels)))
    for number, part in enumerate(got):
        for name in np.unique(labels):
            size = bin_sizes((labels == name).sum(), bins)[number]
            assert (labels[part] == name).sum() == size


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_class_is_a_pool_of_its_own_and_one_shot_picks_begin_as_bins(kernel):
    g, labels = gradients(120, 4, 6), np.arange(120) % 3
    got = graphcut_bins(g, labels, 4, kernel)
    order = graphcut_order(g, labels, {0: 10, 1: 10, 2: 10}, kernel)
    assert order.tolist() == got[0].tolist()
    inside = np.flatnonzero(labels == 1)
    expected = reference(g.subset(inside), [10], kernel)[0]
    assert got[0][10:20].tolist() == inside[expected].tolist()
    whole = graphcut_order(g, None, 25, kernel)
    assert whole.tolist() == reference(g, [25], kernel)[0]


def test_the_record_says_how_gradients_were_searched():
    g = gradients(120, 4, 6)
    assert graphcut_binning(g, None, 4, balance=False).searches == ("matrix",)
    few = graphcut_binning(g, None, 4, balance=False, memory_limit=0)
    assert few.searches == ("products",)
    assert few.smallest_gap == pytest.approx(
        graphcut_binning(g, None, 4, balance=False).smallest_gap, rel=1e-2
    )


@pytest.mark.parametrize("factor", ["residuals", "features"])
def test_factors_that_are_not_finite_are_refused(factor):
    g = gradients(5, 3, 2)
    getattr(g, factor)[3, 1] = np.nan
    with pytest.raises(ValueError, match=f"{factor}: not finite in row 3; allowed: finite numbers"):
        graphcut_bins(g, None, 2, balance=False)


def test_blocks_of_any_size_give_the_same_points(monkeypatch):
    g = gradients(50, 3, 5)
    whole = points_of(g, "cosine")
    monkeypatch.setattr(points, "_BLOCK", 40)
    cut = points_of(g, "cosine")
    assert [f.tolist() for f in cut.factors] == [f.tolist() for f in whole.factors]
    np.testing.assert_allclose(cut.sum_all(), whole.sum_all(), rtol=1e-13, atol=1e-15)
