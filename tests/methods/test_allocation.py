from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.budgets import Budget
from bench.errors import UsageError
from methods.parts.allocation import (
    bin_class_quota,
    bin_quota,
    bin_shares,
    literal_quota,
    min_max,
    product_shares,
    quota_of_shares,
)

# Importances in adaptive.py:19 of the released ADQ code (SLGSP/ADQ at 474cc71).
PUBLISHED = [1, 0.985, 1.031, 1.182, 1.094, 1.176, 1.083, 1.089, 1.011, 1]
sizes = st.lists(st.integers(0, 200), min_size=1, max_size=12).filter(lambda s: sum(s) > 0)


def test_adqs_published_importances_give_the_floors_and_the_rest_by_largest_remainder():
    floors = [480, 475, 489, 535, 508, 533, 505, 507, 483, 480]
    shares = bin_shares(PUBLISHED, [5000] * 10, alpha=0.65)
    assert quota_of_shares(shares, [5000] * 10, 5000, "floor").tolist() == floors
    quota = bin_quota(PUBLISHED, [5000] * 10, 5000, alpha=0.65)
    exact = 0.65 * np.array(PUBLISHED) / sum(PUBLISHED) * 5000 + 0.35 * 500
    more = np.argsort(-(exact - floors), kind="stable")[:5]
    assert (quota - floors)[more].tolist() == [1] * 5
    assert quota.sum() == 5000


def test_the_importance_alone_gives_the_floors_of_alpha_one():
    shares = bin_shares(PUBLISHED, [5000] * 10, alpha=1.0)
    floors = [469, 462, 483, 554, 513, 552, 508, 511, 474, 469]
    assert quota_of_shares(shares, [5000] * 10, 5000, "floor").tolist() == floors


@pytest.mark.parametrize(("total", "kept"), [(5000, 4995), (10000, 9995), (15000, 14995)])
def test_floors_lose_five_images(total, kept):
    shares = bin_shares(PUBLISHED, [5000] * 10, alpha=0.65)
    assert quota_of_shares(shares, [5000] * 10, total, "floor").sum() == kept


# Plain floats give one image less at 0.3 and 1, where a bin's exact number is whole.
@pytest.mark.parametrize(
    ("alpha", "kept"), [("0", 5000), ("0.3", 19474), ("0.65", 36362), ("0.7", 38776), ("1", 53255)]
)
def test_the_printed_equations_keep_what_they_keep_whatever_the_target(alpha, kept):
    weight = Fraction(alpha)
    exact = [(weight * Fraction(str(i)) + (1 - weight) / 10) * 5000 for i in PUBLISHED]
    quota = literal_quota(PUBLISHED, [5000] * 10, float(alpha))
    assert quota.tolist() == [int(q) for q in exact]
    assert quota.sum() == kept
    assert (quota > 5000).sum() == (7 if alpha == "1" else 0)


@given(sizes, st.integers(1, 100), st.sampled_from(["floor", "released"]))
def test_rounded_quotas_stay_near_their_shares_and_within_the_bins(bin_sizes, percent, rounding):
    total = sum(bin_sizes) * percent // 100
    shares = product_shares(np.arange(len(bin_sizes)) + 1.0, bin_sizes)
    quota = quota_of_shares(shares, bin_sizes, total, rounding)
    assert shares.sum() == pytest.approx(1)
    assert (quota <= bin_sizes).all()
    uncut = quota < bin_sizes
    assert np.all(np.abs(quota - shares * total)[uncut] <= (0.5 if rounding == "released" else 1))


def test_products_of_size_and_importance_share_by_both():
    assert product_shares([1, 2], [30, 10]).tolist() == [0.6, 0.4]
    assert product_shares([0, 0], [30, 10]).tolist() == [0.75, 0.25]


@given(sizes, st.data())
def test_quota_meets_the_total_and_never_exceeds_a_bin(bin_sizes, data):
    importance = data.draw(
        st.none() | st.lists(st.floats(0, 1e6), min_size=len(bin_sizes), max_size=len(bin_sizes))
    )
    total = data.draw(st.integers(0, sum(bin_sizes)))
    alpha = data.draw(st.floats(0, 1))
    quota = bin_quota(importance, bin_sizes, total, alpha)
    assert quota.sum() == total
    assert (quota >= 0).all()
    assert (quota <= bin_sizes).all()


@given(sizes, st.integers(1, 100))
def test_alpha_zero_is_dq_whatever_the_importance(bin_sizes, percent):
    total = sum(bin_sizes) * percent // 100
    anything = np.arange(len(bin_sizes)) ** 2.0
    with_importance = bin_quota(anything, bin_sizes, total, alpha=0.0)
    assert with_importance.tolist() == bin_quota(None, bin_sizes, total, alpha=0.65).tolist()


@given(st.integers(1, 20), st.integers(1, 50))
def test_equal_bins_get_equal_shares(bins, each):
    assert bin_quota(None, [50] * bins, bins * each, alpha=0.3).tolist() == [each] * bins


def test_without_a_capped_bin_every_share_is_floored_or_one_more():
    quota = bin_quota(PUBLISHED, [5000] * 10, 15000, alpha=1.0)
    exact = np.array(PUBLISHED) / sum(PUBLISHED) * 15000
    assert np.all(np.isin(quota - np.floor(exact), [0, 1]))


def test_what_a_full_bin_cannot_take_goes_to_the_others():
    assert bin_quota([1, 0, 0], [10, 10, 10], 20, alpha=1.0).tolist() == [10, 5, 5]


@pytest.mark.parametrize("importance", [[1, -1], [1, np.nan], [1, np.inf], [1, 2, 3]])
def test_an_importance_that_is_none_is_refused(importance):
    with pytest.raises(UsageError, match="importance"):
        bin_quota(importance, [5, 5], 5, alpha=0.5)


def test_more_than_there_is_is_refused():
    with pytest.raises(UsageError, match="cannot keep 11 of 10"):
        bin_quota(None, [5, 5], 11, alpha=0.5)


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_table_meets_bin_and_class_quotas_within_what_is_available(bins, classes, data):
    each = data.draw(
        st.lists(st.integers(bins, 40), min_size=classes, max_size=classes), label="class sizes"
    )
    available = np.array([[n // bins] * (bins - 1) + [n - n // bins * (bins - 1)] for n in each]).T
    percent = data.draw(st.integers(1, 100))
    by_class = Budget.parse(str(percent)).images_by_class(available.sum(0))
    alpha = data.draw(st.floats(0, 1))
    importance = data.draw(st.lists(st.floats(0, 2), min_size=bins, max_size=bins))
    by_bin = bin_quota(importance, available.sum(1), int(by_class.sum()), alpha)
    table = bin_class_quota(available, by_bin, by_class)
    assert (table >= 0).all()
    assert (table <= available).all()
    assert table.sum(0).tolist() == by_class.tolist()
    assert table.sum() == by_bin.sum()


def test_equal_bins_and_classes_are_dealt_without_favour():
    # 14 images of each of 10 classes from 10 equal bins: 1.4 a bin. Rounding each class on its
    # own would give the first bins 20 images and the last ones 10.
    available = np.full((10, 10), 14)
    table = bin_class_quota(available, np.full(10, 14), np.full(10, 14))
    assert table.sum(1).tolist() == [14] * 10
    assert table.sum(0).tolist() == [14] * 10
    assert set(np.unique(table)) <= {1, 2}


def test_class_quotas_are_kept_where_bins_lack_classes():
    available = np.array([[10, 0], [0, 10]])
    table = bin_class_quota(available, np.array([9, 1]), np.array([5, 5]))
    assert table.tolist() == [[5, 0], [0, 5]]


def test_min_max_spans_zero_to_one_and_gives_zeros_for_equal_scores():
    assert min_max([3.0, 1.0, 2.0]).tolist() == [1.0, 0.0, 0.5]
    assert min_max([2.0, 2.0]).tolist() == [0.0, 0.0]
