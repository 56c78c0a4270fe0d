"""What classes' numbers follow from: scores, weights, shares, and dealing by expected reduction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.budgets import Budget
from bench.errors import UsageError
from methods.parts.sensitivity import (
    class_quota,
    class_weights,
    deal_by_reduction,
    learning_slopes,
    released_adq_weights,
    smoothed_error,
)

sizes = st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(lambda s: sum(s) > 0)


@given(sizes, st.data())
def test_class_quota_meets_the_total_within_the_classes_and_empties_none(class_sizes, data):
    weights = data.draw(
        st.lists(st.floats(0, 1e6), min_size=len(class_sizes), max_size=len(class_sizes))
    )
    total = data.draw(st.integers(sum(n > 0 for n in class_sizes), sum(class_sizes)))
    quota = class_quota(weights, class_sizes, total)
    assert quota.sum() == total
    assert (quota <= class_sizes).all()
    assert (quota >= np.minimum(1, class_sizes)).all()


@given(sizes, st.integers(1, 100), st.floats(0.01, 100))
def test_equal_weights_give_every_class_its_share(class_sizes, percent, weight):
    usual = Budget.parse(str(percent)).images_by_class(class_sizes)
    if (usual >= np.minimum(1, class_sizes)).all():
        quota = class_quota([weight] * len(class_sizes), class_sizes, int(usual.sum()))
        assert quota.tolist() == usual.tolist()


def test_shares_are_weight_times_size_and_a_full_class_passes_its_rest_on():
    assert class_quota([1, 3], [100, 100], 40).tolist() == [10, 30]
    assert class_quota([1, 3], [300, 100], 40).tolist() == [20, 20]
    assert class_quota([9, 1, 1], [10, 50, 50], 50).tolist() == [10, 20, 20]
    assert class_quota([1, 0, 0], [50, 50, 50], 10).tolist() == [8, 1, 1]


def test_fewer_images_than_classes_are_refused():
    with pytest.raises(UsageError, match="2 images cannot hold one of each of 3 classes"):
        class_quota([1, 1, 1], [5, 5, 5], 2)


def test_the_released_adq_comes_to_what_was_counted_by_class():
    # Section 0, F2 of our reading of the code: expected picks of 62.5 in each bin of 5,000.
    told = [60.0, 59.2, 64.5, 68.1, 69.0, 63.7, 60.2, 60.1, 60.1, 60.1]
    picks = released_adq_weights() * 62.5
    assert picks.round(1).tolist() == told
    assert picks.sum() == pytest.approx(625)


def test_the_released_adq_weights_agree_with_its_segments_drawn_many_times():
    rng, counts = np.random.default_rng(0), np.zeros(10)
    segments = [500, 450, 405, 364, 328, 295, 266, 239, 215, 1938]
    importances = [1, 0.985, 1.031, 1.182, 1.094, 1.176, 1.083, 1.089, 1.011, 1]
    products = [n * one for n, one in zip(segments, importances, strict=True)]
    kept = [round(one / sum(products) * 625) for one in products]
    starts = np.cumsum([0, *segments])
    for _ in range(400):
        for first, stop, count in zip(starts[:-1], starts[1:], kept, strict=True):
            drawn = rng.choice(np.arange(first, stop), count, replace=False)
            counts += np.bincount(drawn // 500, minlength=10)
    assert np.abs(counts / 400 / 62.5 - released_adq_weights()).max() < 0.02


def test_scores_count_as_one_image_at_least_and_the_unjudged_get_the_mean():
    weights = class_weights(np.array([0.25, 0.0, 0.04, -0.5]), np.array([100, 100, 0, 25]), 0.5)
    assert weights.tolist() == pytest.approx([0.5, 0.1, (0.5 + 0.1 + 0.2) / 3, 0.2])
    assert class_weights(np.array([0.3, 0.1]), np.array([9, 9]), 0.0).tolist() == [1, 1]
    assert class_weights(np.array([0.3, 0.1]), np.array([0, 0]), 1.0).tolist() == [1, 1]


def test_slopes_of_power_laws_are_found_and_drawn_together():
    counts = np.array([[10.0, 20, 5], [20, 30, 5], [40, 80, 5]])
    errors = np.array([0.5, 0.9, 0.7]) * counts ** -np.array([0.3, 0.9, 0.0])
    alone = learning_slopes(counts, errors, pooling=0.0)
    assert alone[:2].tolist() == pytest.approx([0.3, 0.9])
    together = learning_slopes(counts, errors, pooling=1e9)
    x = np.log(counts) - np.log(counts).mean(0)
    common = -(x * np.log(errors)).sum() / (x * x).sum()
    assert together.tolist() == pytest.approx([common] * 3)
    assert alone[2] == pytest.approx(common)
    between = learning_slopes(counts, errors, pooling=0.5)
    assert 0.3 < between[0] < common < between[1] < 0.9


def test_a_class_that_did_not_grow_is_not_taken_for_one_that_images_harm():
    counts = np.array([[8.0, 8, 8], [9, 16, 16]])
    errors = np.array([[0.3, 0.4, 0.4], [0.6, 0.2, 0.2]])
    assert learning_slopes(counts, errors, pooling=0.0)[0] == 0
    assert learning_slopes(counts, errors, pooling=0.5)[0] > 0.5


def test_without_any_growth_the_errors_alone_decide():
    assert learning_slopes(np.full((1, 3), 7.0), np.array([[0.1, 0.5, 0.9]]), 0.5).tolist() == [
        1, 1, 1,
    ]  # fmt: skip


@given(st.integers(2, 6), st.integers(0, 40), st.integers(0, 10**6))
def test_dealing_is_greedy_by_expected_reduction_and_nested(classes, count, seed):
    rng = np.random.default_rng(seed)
    kept = rng.integers(0, 9, classes)
    most = kept + rng.integers(0, 30, classes)
    errors, slopes = rng.uniform(0.01, 1, classes), rng.choice([0.0, 0.4, 1.0], classes)
    count = min(count, int((most - kept).sum()))
    now = kept.copy()
    for _ in range(count):
        have, before = np.maximum(now, 1), np.maximum(kept, 1)  # none counts as one
        fall = most * errors * ((have / before) ** -slopes - ((have + 1) / before) ** -slopes)
        first = max(
            (c for c in range(classes) if now[c] < most[c]),
            key=lambda c: (round(fall[c], 12), -now[c] / most[c], -c),
        )
        now[first] += 1
    dealt = deal_by_reduction(kept, most, errors, slopes, count)
    assert dealt.tolist() == now.tolist()
    fewer = deal_by_reduction(kept, most, errors, slopes, count // 2)
    assert (fewer <= dealt).all()


def test_where_no_class_gains_the_rest_evens_out_the_shares():
    dealt = deal_by_reduction(
        np.array([9, 1]), np.array([20, 40]), np.array([0.5, 0.5]), np.zeros(2), 20
    )
    assert dealt.tolist() == [10, 20]


def test_a_smoothed_error_is_never_none_or_all():
    assert smoothed_error(np.array([0, 9]), np.array([9, 9])).tolist() == [0.95, 0.05]
