"""GraphCut bins against a plain float64 evaluation of the definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from selections import graphcut_bins, graphcut_order

from methods.parts import greedy as search
from methods.parts import kernel_rows, points
from methods.parts.exact_gain import ExactGain
from methods.parts.greedy import search_for
from methods.parts.kernel_rows import FetchedRows, MatrixRows
from methods.parts.points import points_of
from methods.parts.submodular import graphcut_binning

KERNELS = ("cosine", "sqeuclidean")
LIMITS = {"matrix": 2**40, "product": 0}
EPS = np.finfo(np.float64).eps


def pair_gains(x, kernel):
    """What a point p of the pool adds to the gain of x, [p, x], in float64 by definition."""
    x = np.asarray(x, np.float64)
    if kernel == "sqeuclidean":
        return -np.stack([((x - row) ** 2).sum(axis=1) for row in x])
    length = np.linalg.norm(x, axis=1)
    unit = x / np.where(length > 0, length, 1)[:, None]
    return 0.5 + 0.5 * unit @ unit.T


def reference(x, sizes, kernel):
    """Bins of one pool; the gain is summed afresh for every bin and lowered pick by pick."""
    pairs = pair_gains(x, kernel)
    tolerance = 32 * EPS * len(x) * np.abs(pairs).max(initial=0)
    left, bins = np.arange(len(x)), []
    for size in sizes:
        gain, picks = pairs[left].sum(axis=0), []
        for _ in range(size):
            open_ = np.setdiff1d(left, picks)
            best = open_[gain[open_] >= gain[open_].max() - tolerance].min()
            picks.append(int(best))
            gain = gain - 2 * pairs[best]
        left = np.setdiff1d(left, picks)
        bins.append(picks)
    return bins


def bin_sizes(n, bins):
    return [n // bins] * (bins - 1) + [n - n // bins * (bins - 1)]


def embeddings(kind, n, d, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    if kind == "clusters":
        x = 0.3 * x + 3 * rng.standard_normal((5, d))[rng.integers(0, 5, n)]
    elif kind == "trained":  # a strong mean, a spectrum that falls fast, no negative features
        basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
        x = np.maximum((x / np.arange(1, d + 1)) @ basis + rng.random(d), 0)
    elif kind == "near duplicates":
        x = x[rng.integers(0, n // 4, n)] + 1e-6 * x
    elif kind == "uneven norms":
        x = x * np.exp(2 * rng.standard_normal((n, 1)))
    elif kind == "far from zero":
        x = 0.01 * x + 100
    return x.astype(np.float32)


KINDS = ("isotropic", "clusters", "trained", "near duplicates", "uneven norms", "far from zero")


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "bins"), [(300, 32, 10), (257, 5, 4), (64, 200, 3)])
def test_bins_equal_the_float64_reference(kind, kernel, limit, n, d, bins):
    x = embeddings(kind, n, d)
    got = graphcut_bins(x, None, bins, kernel, balance=False, memory_limit=limit)
    assert [b.tolist() for b in got] == reference(x, bin_sizes(n, bins), kernel)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_large_pool_equals_the_reference_in_both_memory_modes(kernel):
    x = embeddings("trained", 1500, 64)
    expected = reference(x, bin_sizes(1500, 2), kernel)
    for limit in LIMITS.values():
        got = graphcut_bins(x, None, 2, kernel, balance=False, memory_limit=limit)
        assert [b.tolist() for b in got] == expected


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
def test_all_bins_of_a_class_of_cifar10_equal_the_float64_reference(kernel):
    x = embeddings("trained", 5000, 512)
    got = graphcut_bins(x, None, 10, kernel, balance=False)
    assert [b.tolist() for b in got] == reference(x, bin_sizes(5000, 10), kernel)


@pytest.mark.parametrize(("limit", "search"), [(2**40, "matrix"), (0, "products")])
def test_the_binning_says_how_it_searched(limit, search):
    x = embeddings("clusters", 400, 8)
    got = graphcut_binning(x, None, 5, balance=False, memory_limit=limit)
    assert got.searches == (search,)


def test_few_picks_and_large_pools_are_searched_by_products():
    pool = points_of(embeddings("clusters", 400, 8), "cosine")
    assert search_for(pool, 300, 2**40) == "matrix"
    assert search_for(pool, 40, 2**40) == "products"
    large = points_of(np.zeros((20_000, 1), np.float32), "cosine")
    assert search_for(large, 20_000, 2**40) == "products"


def test_classes_that_fit_are_searched_by_matrix_and_others_by_products():
    x = embeddings("clusters", 400, 8)
    labels = np.arange(400) < 300
    got = graphcut_binning(x, labels, 5, memory_limit=4 * 300 * (300 + 1024))
    assert got.searches == ("matrix", "products")
    assert graphcut_binning(np.empty((0, 3)), [], 2).searches == ()


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_smallest_gap_is_that_of_the_definition(kernel):
    x = embeddings("trained", 120, 9)
    got = graphcut_binning(x, None, 3, kernel, balance=False)
    pairs, gap = pair_gains(x, kernel), np.inf
    left = np.arange(120)
    for picks in got.bins:
        gain, open_ = pairs[left].sum(axis=0), left
        for pick in picks[: len(left) - 1]:
            second, first = np.sort(gain[open_])[-2:]
            gap = min(gap, first - second)
            open_ = open_[open_ != pick]
            gain = gain - 2 * pairs[pick]
        left = np.setdiff1d(left, picks)
    unit = 1.0 if kernel == "cosine" else 4 * ((x - x.mean(axis=0)) ** 2).sum(axis=1).max()
    assert got.smallest_gap == pytest.approx(gap / unit, rel=1e-2)


def test_the_smallest_gap_of_a_tie_is_zero_and_of_one_image_infinite():
    assert graphcut_binning(np.ones((6, 2)), None, 2, balance=False).smallest_gap == 0
    assert graphcut_binning(np.ones((1, 2)), None, 2, balance=False).smallest_gap == np.inf


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_small_blocks_and_frequent_refreshes_change_nothing(kernel, limit, monkeypatch):
    x = embeddings("trained", 300, 16)
    expected = graphcut_bins(x, None, 3, kernel, balance=False)
    for module, name, value in (
        (kernel_rows, "BLOCK", 37),
        (kernel_rows, "CACHED", 21),
        (kernel_rows, "FETCHED", 5),
        (points, "_BLOCK", 100),
        (search, "REFRESH", 7),
        (search, "TOGETHER", 5),
    ):
        monkeypatch.setattr(module, name, value)
        got = graphcut_bins(x, None, 3, kernel, balance=False, memory_limit=limit)
        assert [b.tolist() for b in got] == [b.tolist() for b in expected]


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.int64, st.tuples(st.integers(1, 24), st.integers(1, 3)), elements=st.integers(-3, 3)),
    st.integers(1, 6),
    st.sampled_from(list(LIMITS.values())),
)
def test_integer_rows_full_of_ties_equal_exact_arithmetic(x, bins, limit):
    pairs = pair_gains(x, "sqeuclidean").astype(np.int64)
    left, expected = list(range(len(x))), []
    for size in bin_sizes(len(x), bins):
        gain, picks = pairs[left].sum(axis=0), []
        for _ in range(size):
            best = max((i for i in left if i not in picks), key=lambda i: (gain[i], -i))
            picks.append(best)
            gain = gain - 2 * pairs[best]
        left = [i for i in left if i not in picks]
        expected.append(picks)
    got = graphcut_bins(x, None, bins, "sqeuclidean", balance=False, memory_limit=limit)
    assert [b.tolist() for b in got] == expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([-7, 2, 3, 40]), max_size=40),
    st.integers(1, 12),
    st.sampled_from(KERNELS),
    st.integers(0, 99),
)
def test_bins_partition_the_set_class_by_class(labels, bins, kernel, seed):
    x = np.random.default_rng(seed).standard_normal((len(labels), 3))
    labels = np.array(labels, np.int64)
    got = graphcut_bins(x, labels, bins, kernel)
    assert len(got) == bins
    assert all(b.dtype == np.int64 for b in got)
    assert sorted(np.concatenate(got).tolist()) == list(range(len(labels)))
    for number, part in enumerate(got):
        assert (np.diff(labels[part]) >= 0).all()
        for name in np.unique(labels):
            size = bin_sizes((labels == name).sum(), bins)[number]
            assert (labels[part] == name).sum() == size


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_class_is_a_pool_of_its_own(kernel):
    x = embeddings("trained", 200, 12)
    labels = np.random.default_rng(1).choice([5, 1, 9], 200, p=[0.7, 0.2, 0.1])
    got = graphcut_bins(x, labels, 4, kernel)
    expected = [[], [], [], []]
    for name in (1, 5, 9):
        inside = np.flatnonzero(labels == name)
        for part, picks in zip(
            expected, reference(x[inside], bin_sizes(len(inside), 4), kernel), strict=True
        ):
            part.extend(inside[picks].tolist())
    assert [b.tolist() for b in got] == expected


def test_class_names_only_order_the_classes():
    x = embeddings("isotropic", 90, 6)
    labels = np.random.default_rng(1).integers(0, 3, 90)
    plain = graphcut_bins(x, labels, 4)
    renamed = graphcut_bins(x, np.array(["c", "a", "b"])[labels], 4)
    for one, other in zip(plain, renamed, strict=True):
        groups = [one[labels[one] == c] for c in (1, 2, 0)]
        assert other.tolist() == np.concatenate(groups).tolist()


def test_labels_play_no_part_in_an_unbalanced_pool():
    x = embeddings("isotropic", 60, 6)
    one = graphcut_bins(x, None, 4, balance=False)
    other = graphcut_bins(x, np.arange(60) % 3, 4, balance=False)
    assert [b.tolist() for b in one] == [b.tolist() for b in other]


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_of_duplicates_the_lowest_index_comes_first(kernel, limit):
    rng = np.random.default_rng(3)
    source = rng.integers(0, 150, 700)
    x = embeddings("trained", 150, 33)[source]  # odd sizes: rows lie in every position of a block
    order = np.concatenate(graphcut_bins(x, None, 7, kernel, False, limit)).tolist()
    place = np.argsort(order)
    for original in np.unique(source):
        copies = np.flatnonzero(source == original)
        assert all(place[a] < place[b] for a, b in pairwise(copies.tolist()))


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_equal_rows_are_picked_in_order(kernel, limit):
    for x in (np.zeros((9, 4)), np.full((9, 4), 0.1)):
        got = graphcut_bins(x, None, 2, kernel, balance=False, memory_limit=limit)
        assert [b.tolist() for b in got] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_zero_rows_have_cosine_zero(limit):
    x = embeddings("isotropic", 80, 4)
    x[::7] = 0
    got = graphcut_bins(x, None, 4, "cosine", balance=False, memory_limit=limit)
    assert [b.tolist() for b in got] == reference(x, bin_sizes(80, 4), "cosine")


@pytest.mark.parametrize("factor", [1e-250, 1e-40, 1e40, 1e250])
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_unit_of_the_embeddings_does_not_matter(kernel, factor):
    x = embeddings("trained", 120, 9).astype(np.float64)
    expected = graphcut_bins(x, None, 4, kernel, balance=False)
    got = graphcut_bins(x * factor, None, 4, kernel, balance=False)
    assert [b.tolist() for b in got] == [b.tolist() for b in expected]


def test_rows_of_any_length_have_a_direction():
    x = embeddings("trained", 120, 9).astype(np.float64)
    lengths = 10.0 ** np.random.default_rng(0).integers(-250, 250, 120)
    expected = graphcut_bins(x, None, 4, "cosine", balance=False)
    got = graphcut_bins(x * lengths[:, None], None, 4, "cosine", balance=False)
    assert [b.tolist() for b in got] == [b.tolist() for b in expected]


def test_numbers_whose_sum_is_too_large_are_finite():
    x = np.full((6, 4), np.finfo(np.float32).max)
    assert graphcut_bins(x, None, 2, balance=False)[0].tolist() == [0, 1, 2]


class CheckedSearch(search.Search):
    """A search that looks at the true error after every round of picks."""

    def _pick(self, count):
        super()._pick(count)
        self.check()

    def check(self):
        error = np.abs(self.gain - self.exact.many_gains(self._ids))
        assert error[np.isfinite(self.gain)].max() < self.bound.slack(0) / 2


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", ["isotropic", "three values", "one coordinate"])
@pytest.mark.parametrize("d", [2, 64])
@pytest.mark.parametrize("name", ["matrix", "product"])
def test_rounding_stays_within_the_bound(name, kind, kernel, d):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1500, d))
    if kind == "three values":  # the same roundings again and again: the hardest case
        x = np.where(rng.random((1500, 1)) < 0.9, x[:3][rng.integers(0, 3, 1500)], x)
    elif kind == "one coordinate":
        x = 0.01 * x + np.eye(d)[0]
    pool = points_of(x, kernel)
    rows = {"matrix": MatrixRows, "product": FetchedRows}[name](pool)
    checked = CheckedSearch(pool, rows, ExactGain(pool))
    for size in (200, 900):  # the second bin starts from the mean of the first's gains
        checked.next_bin(size)
        checked.check()


def test_rows_of_earlier_bins_count_by_half():
    pool = points_of(embeddings("isotropic", 50, 16), "cosine")
    error = search.RoundingBound(pool, 2.0**-23, 0)
    for weights in ([1] * 10, [0.5] * 10 + [1] * 6, [0.5] * 16 + [1] * 3):
        error.add(weights.count(1))
        independent = 8 * 4 * np.sqrt(np.square(weights).sum())
        expected = 2 * 2.0**-24 * (independent + 3 * sum(weights))
        assert error.slack(0) == pytest.approx(expected)
        assert error.rows == sum(weights)
        error.halve()
    error.clear()
    assert error.slack(0) == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_shot_picks_begin_as_longer_ones(kernel):
    x = embeddings("trained", 200, 12)
    labels = np.arange(200) % 2
    full = reference(x[::2], [100], kernel)[0]
    for k in (1, 5, 30, 100):  # below and above the share at which the matrix pays
        got = graphcut_order(x, labels, {0: k}, kernel)
        assert got.tolist() == [2 * i for i in full[:k]]


def test_one_shot_counts_by_mapping_array_or_number():
    x = embeddings("isotropic", 60, 6)
    labels = np.array([3] * 20 + [0] * 40)
    by_map = graphcut_order(x, labels, {3: 4, 0: 2})
    assert labels[by_map].tolist() == [0, 0, 3, 3, 3, 3]
    assert graphcut_order(x, labels, np.array([2, 0, 0, 4])).tolist() == by_map.tolist()
    whole = graphcut_bins(x, None, 1, balance=False)[0]
    assert graphcut_order(x, None, 7).tolist() == whole[:7].tolist()
    assert graphcut_order(x, labels, {}).tolist() == []


def test_no_images_give_empty_bins():
    empty = np.empty((0, 3), np.float32)
    for balance in (True, False):
        got = graphcut_bins(empty, np.empty(0, int), 3, balance=balance)
        assert [(b.dtype, b.size) for b in got] == [(np.dtype(np.int64), 0)] * 3


def test_a_class_of_one_image_and_more_bins_than_images():
    got = graphcut_bins([[1.0, 2.0], [2.0, 1.0], [0.5, 0.5]], [4, 2, 4], bins=5)
    assert [b.tolist() for b in got[:4]] == [[]] * 4
    assert sorted(got[4].tolist()) == [0, 1, 2]
    assert got[4][0] == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint8, bool])
@pytest.mark.parametrize("kernel", KERNELS)
def test_any_real_type_is_taken_and_left_as_it_was(kernel, dtype):
    x = (np.random.default_rng(0).integers(-2, 3, (40, 3)) * 64).astype(dtype)
    before = x.copy()
    got = graphcut_bins(x, None, 3, kernel, balance=False)
    assert [b.tolist() for b in got] == reference(x, bin_sizes(40, 3), kernel)
    assert (x == before).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bins": 0}, "bins: 0; allowed: 1 or more"),
        ({"kernel": "rbf"}, "kernel: 'rbf'; allowed: cosine, sqeuclidean"),
        ({"embeddings": np.zeros(4)}, r"embeddings: float64 \[4\]; allowed"),
        ({"embeddings": np.zeros((4, 0))}, r"embeddings: float64 \[4, 0\]; allowed"),
        ({"embeddings": np.zeros((4, 2), complex)}, r"embeddings: complex128 \[4, 2\]; allowed"),
        ({"embeddings": np.array([[0, 1], [np.nan, 1]])}, "embeddings: not finite in row 1"),
        ({"embeddings": np.array([[0, -np.inf], [0, 1]])}, "embeddings: not finite in row 0"),
        ({"labels": np.zeros(3)}, r"labels: shape \(3,\); allowed: \(4,\)"),
        ({"labels": None}, r"labels: shape \(\); allowed: \(4,\)"),
    ],
)
def test_errors_name_the_value_and_what_is_allowed(change, message):
    arguments = {"embeddings": np.eye(4), "labels": np.zeros(4)} | change
    with pytest.raises(ValueError, match=message):
        graphcut_bins(**arguments)


@pytest.mark.parametrize("counts", [{0: 5}, {0: -1}, {7: 1}, [1, 5], 9])
def test_counts_beyond_the_pool_are_refused(counts):
    with pytest.raises(ValueError, match=r"counts: .* of class .*; allowed: 0 to"):
        graphcut_order(np.eye(4), np.zeros(4, int), counts)
