"""Statistics of repeated runs: pure functions of numbers, which know no model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty.

    Parameters
    ----------
    mean : float
        Of the n values.
    half_width : float or None
        Half of the interval around the mean; None when one value tells nothing of it.
    n : int
        Number of values.
    """

    mean: float
    half_width: float | None
    n: int


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return the mean of values and its Student t interval.

    Parameters
    ----------
    values : sequence of float
        At least one.
    confidence : float
        In 0 ... 1.
    """
    n = len(values)
    if n < 2:
        return Estimate(fmean(values), None, n)
    from scipy.special import stdtrit

    quantile = float(stdtrit(n - 1, (1 + confidence) / 2))
    return Estimate(fmean(values), quantile * stdev(values) / math.sqrt(n), n)


def paired_difference(
    ours: Mapping[Hashable, float], theirs: Mapping[Hashable, float], confidence: float = 0.95
) -> Estimate | None:
    """Return the mean of ours minus theirs over the pairs that both have, or None.

    Parameters
    ----------
    ours, theirs : mapping
        A value for each pairing key, e.g. the training seed.
    """
    common = sorted(ours.keys() & theirs.keys(), key=repr)
    if not common:
        return None
    return t_interval([ours[key] - theirs[key] for key in common], confidence)
