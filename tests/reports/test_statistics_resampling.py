from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rliable import metrics
from scipy import stats

from reports.statistics import (
    hierarchical_bootstrap,
    improvement_interval,
    interval_over_seeds,
    iqm,
    iqm_interval,
    probability_of_improvement,
)

runs_of_tasks = st.dictionaries(
    st.sampled_from("abcde"), st.lists(st.floats(0, 100), min_size=1, max_size=8), min_size=1
)


@given(runs_of_tasks)
def test_the_interquartile_mean_is_scipys_trimmed_mean(tasks):
    pooled = np.concatenate([np.array(runs) for runs in tasks.values()])
    assert iqm(tasks) == pytest.approx(stats.trim_mean(pooled, 0.25), abs=1e-9)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
)
def test_the_probability_of_improvement_is_mann_and_whitneys(ours, theirs):
    expected = stats.mannwhitneyu(ours, theirs).statistic / (len(ours) * len(theirs))
    found = probability_of_improvement({"a": ours, "b": ours}, {"a": theirs, "b": theirs})
    assert found == pytest.approx(expected)


@given(
    st.integers(1, 8), st.integers(1, 8), st.integers(1, 5), st.integers(0, 6), st.integers(0, 999)
)
def test_both_are_those_of_rliable(n_ours, n_theirs, tasks, levels, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.integers(0, levels + 1, (n_ours, tasks)), rng.random((n_theirs, tasks))
    theirs = np.round(theirs * levels)  # ties count half
    by_task = [
        {str(task): runs[:, task].tolist() for task in range(tasks)} for runs in (ours, theirs)
    ]
    assert iqm(by_task[0]) == pytest.approx(metrics.aggregate_iqm(ours))
    expected = metrics.probability_of_improvement(ours, theirs)
    assert probability_of_improvement(*by_task) == pytest.approx(expected)


def test_other_tasks_cannot_be_compared():
    with pytest.raises(ValueError, match="different tasks"):
        probability_of_improvement({"a": [1.0]}, {"b": [1.0]})


def test_the_stratified_bootstrap_of_one_task_is_scipys():
    sample = np.random.default_rng(0).normal(80, 2, 30)
    found = iqm_interval({"a": sample.tolist()}, repetitions=20_000)
    expected = stats.bootstrap(
        (sample,),
        lambda values, axis: stats.trim_mean(values, 0.25, axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05)
    assert found.value == pytest.approx(stats.trim_mean(sample, 0.25))


def test_tasks_are_resampled_apart():
    tasks = {"easy": [90.0] * 5, "hard": [10.0] * 5}  # no spread within a task, none in the result
    found = iqm_interval(tasks)
    assert (found.low, found.high) == (found.value, found.value) == (50.0, 50.0)
    always = improvement_interval(tasks, {task: [5.0, 6.0] for task in tasks})
    assert (always.value, always.low, always.high, always.n) == (1.0, 1.0, 1.0, 10)


def test_the_interval_of_the_improvement_is_that_of_plain_resampling():
    rng = np.random.default_rng(3)
    ours = {task: rng.normal(0.5, 1, 6).round(1).tolist() for task in "ab"}
    theirs = {task: rng.normal(0, 1, 4).round(1).tolist() for task in "ab"}
    found = improvement_interval(ours, theirs, repetitions=20_000)
    drawn = [
        probability_of_improvement(
            {task: rng.choice(runs, len(runs)) for task, runs in ours.items()},
            {task: rng.choice(runs, len(runs)) for task, runs in theirs.items()},
        )
        for _ in range(3000)
    ]
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)
    assert found.value == probability_of_improvement(ours, theirs)


def test_single_runs_have_no_interval():
    one = {"a": [90.0], "b": [80.0]}
    for found in (
        iqm_interval(one),
        improvement_interval(one, one),
        hierarchical_bootstrap({(0, 0): 1.0}),
    ):
        assert (found.low, found.high) == (None, None)


seeds = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=40)
@given(st.dictionaries(seeds, st.floats(0, 100), min_size=1))
def test_the_hierarchical_interval_lies_within_the_values_and_is_repeatable(runs):
    found = hierarchical_bootstrap(runs, seed=3, repetitions=40)
    assert found == hierarchical_bootstrap(dict(reversed(runs.items())), seed=3, repetitions=40)
    low, high = min(runs.values()), max(runs.values())
    if len(runs) > 1:
        assert low - 1e-9 <= found.low <= found.high <= high + 1e-9
    assert found.value == pytest.approx(np.mean(list(runs.values())))
    assert found.n == len(runs)


@pytest.mark.parametrize("axis", [0, 1])
def test_one_kind_of_seed_alone_is_the_plain_bootstrap(axis):
    sample = np.random.default_rng(0).normal(80, 2, 40)
    runs = {(k, 0) if axis == 0 else (0, k): float(v) for k, v in enumerate(sample)}
    found = hierarchical_bootstrap(runs, repetitions=20_000)
    expected = stats.bootstrap(
        (sample,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05)


def crossed(rng, of_selection, of_training, of_run, size=20):
    by_selection, by_training = rng.normal(size=size), rng.normal(size=size)
    return {
        (s, t): of_selection * by_selection[s]
        + of_training * by_training[t]
        + of_run * rng.normal()
        for s in range(size)
        for t in range(size)
    }


@pytest.mark.parametrize("sizes", [(1, 0, 0.1), (0, 1, 0.1), (1, 1, 0.1)])
def test_many_crossed_seeds_give_the_interval_of_the_two_way_layout(sizes):
    runs = crossed(np.random.default_rng(4), *sizes)
    found = hierarchical_bootstrap(runs, repetitions=4000)
    half_width = interval_over_seeds(runs).half_width
    assert (found.high - found.low) / 2 == pytest.approx(half_width, rel=0.15)


@pytest.mark.parametrize(("seeds", "told"), [(2, 50), (3, 75), (5, 85)])
def test_few_seeds_hold_the_truth_as_often_as_the_notes_say(seeds, told):
    rng = np.random.default_rng(1)
    held = []
    for _ in range(800):
        runs = {(seed, seed): float(value) for seed, value in enumerate(rng.normal(size=seeds))}
        found = hierarchical_bootstrap(runs, repetitions=400)
        held.append(found.low <= 0 <= found.high)
    assert 100 * np.mean(held) == pytest.approx(told, abs=4)


def test_trainings_within_selections_count_no_more_than_their_selection():
    rng = np.random.default_rng(5)
    by_selection = rng.normal(size=20)
    runs = {
        (s, 100 * s + t): by_selection[s] + 0.01 * rng.normal() for s in range(20) for t in range(6)
    }
    found = hierarchical_bootstrap(runs, repetitions=4000)
    alone = hierarchical_bootstrap({(s, 0): v for s, v in enumerate(by_selection.tolist())})
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.1)
