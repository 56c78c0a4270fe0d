from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import (
    Effect,
    best_of,
    effect_over_seeds,
    equivalence,
    holm,
    independent,
    matched,
    optimism,
    paired_effect,
)

samples = st.lists(st.floats(-50, 50), min_size=2, max_size=15).filter(lambda v: np.std(v) > 1e-3)
nulls = st.floats(-20, 20)


@given(samples, nulls)
def test_p_values_are_those_of_scipys_t_test(sample, null):
    effect = independent(sample)
    for found, alternative in (
        (effect.p_value(null), "two-sided"),
        (effect.p_above(null), "greater"),
        (effect.p_below(null), "less"),
    ):
        expected = stats.ttest_1samp(sample, null, alternative=alternative).pvalue
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_one_value_shows_nothing_and_equal_values_what_their_signs_do():
    one, same = independent([3.0]), independent([3.0, 3.0, 3.0])
    assert one.p_value(0) == 1.0
    assert one.interval() == (-math.inf, math.inf)
    assert one.deviation is None
    assert (same.p_above(0), same.p_below(0), same.p_value(3.0)) == (1 / 8, 1.0, 1.0)
    two = paired_effect({(0, 0): 70.2, (1, 1): 70.3}, {(0, 0): 70.1, (1, 1): 70.2})
    assert two is not None
    assert (two.mean, two.error, two.p_value()) == (0.1, 0.0, 0.5)  # whatever the last bits


@given(st.integers(-9_999, 9_999).filter(bool), st.integers(2, 20), st.sampled_from([360, 10_000]))
def test_equal_differences_get_the_sign_tests_p_whatever_their_number(apart, n, images):
    """The mean of three times 0.1 is another number than 0.1, by its last bit."""
    value = 100 * apart / images
    assert independent([value] * n).p_value() == 2 * 0.5**n
    runs = {(seed, seed): 50 + seed / 7 for seed in range(n)}
    more = {seed: other + value for seed, other in runs.items()}
    unrounded = {seed: more[seed] - other for seed, other in runs.items()}
    assert effect_over_seeds(unrounded).p_value() == 2 * 0.5**n
    crossed = {(one, two): value for one in range(n) for two in range(n + 1)}
    assert effect_over_seeds(crossed).p_value() == 0.5
    assert independent([value] * n).p_value(value) == 1.0


@given(samples, st.floats(0.01, 20))
def test_equivalence_is_two_one_sided_tests_and_an_interval_within(sample, margin):
    effect = independent(sample)
    found = equivalence(effect, margin)
    above = stats.ttest_1samp(sample, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(sample, margin, alternative="less").pvalue
    assert found.p_inside == pytest.approx(max(above, below), rel=1e-6, abs=1e-9)
    if abs(found.p_inside - 0.05) > 1e-6:
        assert (found.p_inside < 0.05) == (-margin < found.low and found.high < margin)
    assert not (found.p_inside < 0.05 and found.p_outside < 0.05)


def test_equivalence_at_the_margin_is_declared_in_one_of_twenty_cases():
    rng = np.random.default_rng(0)
    declared = [
        equivalence(independent(rng.normal(1.0, 0.3, 8).tolist()), 1.0).p_inside < 0.05
        for _ in range(3000)
    ]
    assert np.mean(declared) == pytest.approx(0.05, abs=0.012)


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="empty"):
        equivalence(independent([1.0, 2.0]), 1.0, 1.0)


@given(st.dictionaries(st.integers(0, 20), st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values):
    found = holm(p_values)
    for key in p_values:
        subsets = (
            subset
            for size in range(1, len(p_values) + 1)
            for subset in combinations(p_values, size)
            if key in subset
        )
        closed = max(min(1.0, len(s) * min(p_values[k] for k in s)) for s in subsets)
        assert found[key] == pytest.approx(closed)
    assert list(found) == list(p_values)


def made(rng, mean, seeds=8, deviation=0.2):
    return {(s, s): mean + deviation * rng.normal() for s in range(seeds)}


def named(groups):
    return best_of(
        {key: np.mean(list(runs.values())) for key, runs in groups.items()},
        lambda ours, theirs: paired_effect(groups[ours], groups[theirs]),
    )


def test_the_best_is_named_only_where_it_is_shown():
    rng = np.random.default_rng(1)
    ahead = {"a": made(rng, 90), "b": made(rng, 92), "c": made(rng, 91)}
    assert named(ahead) == "b"
    assert named({**ahead, "d": dict(ahead["b"])}) is None
    assert named({"b": ahead["b"]}) is None
    assert named({"a": {(9, 9): 80.0}, "b": ahead["b"]}) is None


def test_of_two_equal_ones_a_best_is_named_in_one_of_twenty_cases():
    rng = np.random.default_rng(2)
    found = [named({"a": made(rng, 90, 5), "b": made(rng, 90, 5)}) is not None for _ in range(3000)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.012)


def test_unseeded_methods_stand_for_every_selection_seed():
    seeded = {(s, t): 10.0 * s + t for s in range(2) for t in range(3)}
    unseeded = {(0, t): 100.0 + t for t in range(2)}
    pairs = matched(seeded, unseeded, theirs_seeded=False)
    assert pairs == {(s, t): (10.0 * s + t, 100.0 + t) for s in range(2) for t in range(2)}
    turned = matched(unseeded, seeded, ours_seeded=False)
    assert turned == {key: (b, a) for key, (a, b) in pairs.items()}
    assert matched(seeded, unseeded) == {(0, t): (float(t), 100.0 + t) for t in range(2)}
    assert paired_effect(seeded, {(7, 7): 1.0}) is None


@given(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.floats(0, 100)))
def test_an_effect_tells_the_same_as_its_estimate(runs):
    if not runs:
        return
    effect = effect_over_seeds(runs)
    estimate = effect.estimate()
    assert (effect.mean, effect.n) == (estimate.mean, estimate.n)
    assert effect.mean == pytest.approx(np.mean(list(runs.values())))
    assert (effect.error is None) == (estimate.half_width is None)
    assert isinstance(effect.minus(3.0), Effect)
    assert effect.minus(3.0).mean == pytest.approx(effect.mean - 3.0)


def test_optimism_is_best_minus_last():
    last = {"a": {(0, 0): 90.0, (1, 1): 91.0}, "b": {(0, 0): 90.5, (1, 1): 91.5}}
    best = {"a": {(0, 0): 92.0, (1, 1): 93.0}, "b": {(0, 0): 90.6, (1, 1): 91.6}}
    found = optimism(last, best)
    assert found.by_method["a"].mean == pytest.approx(2.0)
    assert found.by_method["b"].mean == pytest.approx(0.1)
    assert found.spread == pytest.approx(1.9)
    assert found.agreement == -1.0  # the best epochs turn the order round
    with pytest.raises(ValueError, match="same runs"):
        optimism(last, {"a": best["a"]})
