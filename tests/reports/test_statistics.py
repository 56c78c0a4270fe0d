from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import interval_over_seeds, paired_effect, t_interval
from reports.statistics.intervals import effect_over_seeds, independent
from reports.tables import percent

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20)


@given(values, st.floats(0.5, 0.999))
def test_the_interval_is_scipys(sample, confidence):
    found = t_interval(sample, confidence)
    error = stats.sem(sample)
    assert found.n == len(sample)
    assert found.mean == pytest.approx(np.mean(sample), abs=1e-9)
    if np.ptp(sample) > 1e-8:
        low, high = stats.t.interval(confidence, len(sample) - 1, np.mean(sample), error)
        assert found.half_width == pytest.approx((high - low) / 2, rel=1e-6, abs=1e-9)


def test_one_value_has_no_interval():
    assert t_interval([3.0]).half_width is None
    assert t_interval([3.0]).mean == 3.0


seed_pairs = st.integers(0, 9).map(lambda seed: (seed, seed))
paired_runs = st.dictionaries(seed_pairs, st.floats(0, 100), min_size=2)


@given(paired_runs, paired_runs)
def test_differences_are_paired_over_common_seeds_only(ours, theirs):
    found = paired_effect(ours, theirs)
    common = ours.keys() & theirs.keys()
    if not common:
        assert found is None
        return
    assert found is not None
    assert found.n == len(common)
    expected = np.mean([ours[key] - theirs[key] for key in common])
    assert found.mean == pytest.approx(expected, abs=1e-9)


def test_pairing_removes_what_both_have_in_common():
    theirs = {(0, 0): 10.0, (1, 1): 50.0, (2, 2): 90.0}
    ours = {seed: value + 1 for seed, value in theirs.items()}
    found = paired_effect(ours, theirs).estimate()
    assert (found.mean, found.half_width) == pytest.approx((1.0, 0.0))


def crossed(rng, selections, trainings, of_selection, of_training, of_run):
    by_selection = of_selection * rng.normal(size=selections)
    by_training = of_training * rng.normal(size=trainings)
    return {
        (s, t): by_selection[s] + by_training[t] + of_run * rng.normal()
        for s in range(selections)
        for t in range(trainings)
    }


@pytest.mark.parametrize("sizes", [(1, 0), (0, 1), (1, 1), (0.3, 1)])
def test_the_interval_of_crossed_seeds_covers_the_truth_as_often_as_it_says(sizes):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1500):
        found = interval_over_seeds(crossed(rng, 3, 5, *sizes, 0.2))
        covered.append(abs(found.mean) <= found.half_width)
    assert np.mean(covered) > 0.93


def test_runs_taken_for_independent_would_be_too_sure():
    runs = crossed(np.random.default_rng(0), 3, 5, 0.0, 1.0, 0.01)
    assert interval_over_seeds(runs).half_width > 1.5 * t_interval(list(runs.values())).half_width


@given(values)
def test_runs_with_seeds_of_their_own_are_independent(sample):
    alone = {(seed, seed): value for seed, value in enumerate(sample)}
    one_selection = {(0, seed): value for seed, value in enumerate(sample)}
    assert interval_over_seeds(alone) == interval_over_seeds(one_selection) == t_interval(sample)


def test_trainings_that_share_a_selection_are_not_independent():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1500):
        of_selection = rng.normal(size=4)
        runs = {
            (s, 3 * s + k): of_selection[s] + 0.2 * rng.normal() for s in range(4) for k in range(3)
        }
        found = interval_over_seeds(runs)
        assert found.n == 12
        covered.append(abs(found.mean) <= found.half_width)
    assert np.mean(covered) > 0.93


def test_a_crossed_layout_with_a_missing_run_still_has_an_interval():
    runs = crossed(np.random.default_rng(0), 3, 5, 1.0, 1.0, 0.2)
    del runs[1, 2]
    found = interval_over_seeds(runs)
    assert found.n == 14
    assert found.half_width > 0


@pytest.mark.parametrize(
    "runs",
    [
        {(0, 0): 1.0, (0, 1): 2.0, (1, 0): 2.0, (1, 1): 1.0},
        {(0, 0): 1.0, (0, 1): 2.0, (1, 2): 1.0, (1, 3): 2.0},
    ],
)
def test_runs_whose_means_over_seeds_are_equal_are_not_told_as_equal_runs(runs):
    found = effect_over_seeds(runs)
    assert found == independent([1.0, 2.0, 2.0, 1.0])
    assert "equal" not in percent(found.estimate())
    assert found.p_value(1.4) > 0.05
