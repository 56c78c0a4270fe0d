from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import (
    equivalence,
    equivalence_power,
    independent,
    minimum_detectable_difference,
    power,
    seeds_for_equivalence,
    seeds_needed,
)

differences = st.floats(0.05, 3)
deviations = st.floats(0.1, 2)


@given(differences, deviations, st.integers(2, 40), st.booleans())
def test_power_is_that_of_scipys_noncentral_t(difference, deviation, n, paired):
    freedom = n - 1 if paired else 2 * n - 2
    shift = difference / (deviation * np.sqrt((1 if paired else 2) / n))
    bound = stats.t.ppf(0.975, freedom)
    expected = stats.nct.sf(bound, freedom, shift) + stats.nct.cdf(-bound, freedom, shift)
    if np.isfinite(expected):  # scipy's is not for differences of many standard errors
        found = power(difference, deviation, n, paired=paired)
        assert found == pytest.approx(expected, abs=1e-6)


@given(st.floats(20, 60), st.integers(1, 30))
def test_power_has_no_gap_where_the_distribution_ends(shift, freedom):
    n = freedom + 1
    here, there = (power(s / np.sqrt(n), 1.0, n) for s in (shift, shift + 0.5))
    assert 0.8 < here <= there + 1e-9 <= 1.0 + 2e-9


def test_power_is_what_simulated_tests_show():
    rng = np.random.default_rng(0)
    pairs = rng.normal(0.5, 0.6, size=(4000, 8))
    shown = stats.ttest_1samp(pairs, 0, axis=1).pvalue < 0.05
    assert power(0.5, 0.6, 8) == pytest.approx(shown.mean(), abs=0.025)
    ours, theirs = rng.normal(0.5, 0.6, (4000, 8)), rng.normal(0, 0.6, (4000, 8))
    shown = stats.ttest_ind(ours, theirs, axis=1).pvalue < 0.05
    assert power(0.5, 0.6, 8, paired=False) == pytest.approx(shown.mean(), abs=0.025)


@given(deviations, st.integers(2, 60), st.booleans())
def test_the_detectable_difference_has_just_the_power_asked_for(deviation, n, paired):
    found = minimum_detectable_difference(deviation, n, paired=paired)
    assert power(found, deviation, n, paired=paired) == pytest.approx(0.8, abs=1e-6)


@given(differences, deviations, st.booleans())
def test_the_seeds_needed_are_the_fewest_that_are_enough(difference, deviation, paired):
    n = seeds_needed(difference, deviation, paired=paired)
    assert n is not None
    assert power(difference, deviation, n, paired=paired) >= 0.8
    if n > 2:
        assert power(difference, deviation, n - 1, paired=paired) < 0.8


def test_extremes_are_told_not_computed_forever():
    assert seeds_needed(1e-6, 1.0) is None
    assert seeds_needed(1.0, 0.0) == 2
    assert seeds_needed(0.0, 1.0) is None
    assert power(1.0, 0.0, 2) == 1.0
    assert power(0.0, 0.0, 2) == 0.0
    assert power(1e9, 1e-3, 5) == pytest.approx(1.0)
    assert minimum_detectable_difference(0.0, 5) == 0.0
    with pytest.raises(ValueError, match="at least 2"):
        power(1.0, 1.0, 1)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_the_chance_of_showing_equivalence_is_what_simulated_tests_show(n):
    rng = np.random.default_rng(n)
    shown = [
        equivalence(independent(sample), 1.0).p_inside < 0.05
        for sample in rng.normal(0, 0.8, size=(3000, n)).tolist()
    ]
    assert equivalence_power(1.0, 0.8, n) == pytest.approx(np.mean(shown), abs=0.03)


@given(st.floats(0.2, 3), deviations)
def test_the_seeds_for_equivalence_are_the_fewest_that_are_enough(margin, deviation):
    n = seeds_for_equivalence(margin, deviation)
    assert n is not None
    assert equivalence_power(margin, deviation, n) >= 0.8
    if n > 2:
        assert equivalence_power(margin, deviation, n - 1) < 0.8
