from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import paired_difference, t_interval

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20)


@given(values, st.floats(0.5, 0.999))
def test_the_interval_is_scipys(sample, confidence):
    found = t_interval(sample, confidence)
    error = stats.sem(sample)
    assert found.n == len(sample)
    assert found.mean == pytest.approx(np.mean(sample), abs=1e-9)
    if error > 0:
        low, high = stats.t.interval(confidence, len(sample) - 1, np.mean(sample), error)
        assert found.half_width == pytest.approx((high - low) / 2, rel=1e-6, abs=1e-9)


def test_one_value_has_no_interval():
    assert t_interval([3.0]).half_width is None
    assert t_interval([3.0]).mean == 3.0


@given(st.dictionaries(st.integers(0, 9), st.floats(0, 100), min_size=2),
       st.dictionaries(st.integers(0, 9), st.floats(0, 100), min_size=2))  # fmt: skip
def test_differences_are_paired_over_common_seeds_only(ours, theirs):
    found = paired_difference(ours, theirs)
    common = ours.keys() & theirs.keys()
    if not common:
        assert found is None
        return
    assert found is not None
    assert found.n == len(common)
    expected = np.mean([ours[key] - theirs[key] for key in common])
    assert found.mean == pytest.approx(expected, abs=1e-9)


def test_pairing_removes_what_both_have_in_common():
    theirs = {0: 10.0, 1: 50.0, 2: 90.0}
    ours = {seed: value + 1 for seed, value in theirs.items()}
    found = paired_difference(ours, theirs)
    assert found is not None
    assert (found.mean, found.half_width) == pytest.approx((1.0, 0.0))
