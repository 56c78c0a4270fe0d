from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import kendall_tau, rank_stability
from reports.statistics.resampling import draws

values = st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 5).map(float))


@given(values, values)
def test_tau_is_scipys_over_the_methods_that_both_have(ours, theirs):
    common = sorted(ours.keys() & theirs.keys())
    found = kendall_tau(ours, theirs)
    if len(common) < 2:
        assert found is None
        return
    expected = stats.kendalltau([ours[k] for k in common], [theirs[k] for k in common]).statistic
    if np.isnan(expected):
        assert found is None
    else:
        assert found == pytest.approx(expected)


def runs(mean, noise):
    return {(s, s): mean + float(v) for s, v in enumerate(noise)}


def test_a_clear_order_is_firm():
    noise = np.random.default_rng(0).normal(size=6)
    found = rank_stability({"a": runs(90, noise), "b": runs(95, noise), "c": runs(80, noise)})
    assert [found.ranks[name].rank for name in "bac"] == [1.0, 2.0, 3.0]
    assert found.ranks["b"].best == pytest.approx(1.0)
    assert (found.ranks["a"].low, found.ranks["a"].high) == (2.0, 2.0)
    assert (found.agreement, found.seeds) == (1.0, 6)


def test_an_order_by_chance_is_not_firm():
    rng = np.random.default_rng(1)
    found = rank_stability({name: runs(90, rng.normal(size=5)) for name in "abcdef"}, seed=2)
    first = min(found.ranks.values(), key=lambda one: one.rank)
    assert first.best < 0.95
    assert first.high > 1
    assert found.agreement < 0.9
    assert sum(one.best for one in found.ranks.values()) == pytest.approx(1.0)


def test_equal_methods_share_their_ranks():
    same = runs(90, [0.0, 1.0, 2.0])
    found = rank_stability({"a": same, "b": same, "c": runs(80, [0.0, 1.0, 2.0])})
    assert [found.ranks[name].rank for name in "abc"] == [1.5, 1.5, 3.0]
    assert (found.ranks["a"].best, found.ranks["b"].best) == (0.5, 0.5)


def test_equal_means_are_ties_whatever_their_last_bits():
    """33 and 34 of 100 images, then 34 and 33: the sums differ in their last bit."""
    ours = {(0, 0): 0.1, (1, 1): 0.2, (2, 2): 0.3}
    theirs = {(0, 0): 0.3, (1, 1): 0.2, (2, 2): 0.1 + 2**-50}
    found = rank_stability({"a": ours, "b": theirs, "c": dict.fromkeys(ours, 0.0)})
    assert [found.ranks[name].rank for name in "abc"] == [1.5, 1.5, 3.0]
    assert kendall_tau({"a": 0.6, "b": 0.6 + 2**-50, "c": 0}, {"a": 2, "b": 2, "c": 1}) == 1.0
    assert kendall_tau({"a": 90.0, "b": 90.0001}, {"a": 1, "b": 2}) == 1.0  # an image of a million


def test_only_common_seeds_take_part_and_none_says_nothing():
    both = rank_stability({"a": {(0, 0): 1.0, (1, 1): 2.0}, "b": {(1, 1): 9.0, (2, 2): 0.0}})
    assert (both.seeds, both.ranks["b"].rank) == (1, 1.0)
    assert rank_stability({"a": {(0, 0): 1.0}, "b": {(1, 1): 1.0}}) is None
    assert rank_stability({"a": {(0, 0): 1.0}}) is None
    assert rank_stability({}) is None


def test_the_mean_tau_is_that_of_the_draws():
    rng = np.random.default_rng(3)
    methods = {name: runs(90, rng.normal(size=4).round(1)) for name in "abcd"}
    found = rank_stability(methods)
    table = np.array([list(one.values()) for one in methods.values()])
    picks = np.array(list(product(range(4), repeat=4)))
    drawn, means = table[:, picks].mean(axis=2).T.round(9), table.mean(axis=1).round(9)
    taus = [tau for one in drawn if not np.isnan(tau := stats.kendalltau(means, one).statistic)]
    assert found.agreement == pytest.approx(np.mean(taus))
    some = rank_stability(methods, repetitions=30, seed=7)  # fewer than there are: a sample
    assert some.agreement == pytest.approx(np.mean(taus), abs=0.2)
    assert some != rank_stability(methods, repetitions=30, seed=8)


@given(st.integers(1, 6))
def test_all_draws_have_the_chances_of_sampling_with_replacement(n):
    counts, chances = draws(n, 0, 2000)
    expected = Counter(tuple(np.bincount(p, minlength=n)) for p in product(range(n), repeat=n))
    arrangements = chances * n**n
    found = dict(zip(map(tuple, counts.astype(int)), arrangements, strict=True))
    assert found == pytest.approx(expected)
