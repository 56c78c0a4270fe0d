"""What a number of seeds can show, and how many seeds it takes to show something."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from reports.statistics.decisions import LEVEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.arrays import FloatArray

POWER = 0.8
"""The usual chance of seeing what is there."""
MOST_SEEDS = 100_000
_STEPS = 60
_PLACES = 400
_REACH = 12.0
_PER_SEED = 7.85
"""Squared sum of the normal quantiles of 0.975 and 0.8: where the search for seeds begins."""
_FOR_SPREAD = 1.92
"""Half of the squared quantile of 0.975: more of them since the spread is not known."""


def power(
    difference: float, deviation: float, n: int, *, level: float = LEVEL, paired: bool = True
) -> float:
    """Return the chance that a two-sided t test shows a true difference.

    The noncentral t distribution, integrated over the standard deviation that the sample happens
    to have: scipy's own is not a number for differences of many standard errors.

    Parameters
    ----------
    difference : float
        Between the true means.
    deviation : float
        Standard deviation of the paired differences, or of either group's runs when not paired.
    n : int
        Pairs, or runs of each group; at least 2.
    """
    from scipy.special import ndtr, stdtrit

    freedom, error = _error(deviation, n, paired)
    if error == 0:
        return float(difference != 0)
    bound, shift = stdtrit(freedom, 1 - level / 2), abs(difference) / error
    spreads, chances = _spreads(freedom)
    return float(chances @ (ndtr(shift - bound * spreads) + ndtr(-shift - bound * spreads)))


def minimum_detectable_difference(
    deviation: float, n: int, *, chance: float = POWER, level: float = LEVEL, paired: bool = True
) -> float:
    """Return the smallest true difference that n seeds show with the given chance.

    Parameters are those of :func:`power`; ``chance`` is the power that is asked for.
    """
    return deviation * _detectable(n, chance, level, paired)


@lru_cache(256)
def _detectable(n: int, chance: float, level: float, paired: bool) -> float:
    """Return the smallest difference that is shown, in standard deviations."""

    def enough(difference: float) -> bool:
        return power(difference, 1.0, n, level=level, paired=paired) >= chance

    low, high = 0.0, 1.0
    while not enough(high):
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def seeds_needed(
    difference: float,
    deviation: float,
    *,
    chance: float = POWER,
    level: float = LEVEL,
    paired: bool = True,
) -> int | None:
    """Return how many seeds separate two methods with the given chance.

    Returns
    -------
    int or None
        The fewest pairs (or runs of each method, when not paired), at least 2; None for more
        than 100,000.
    """
    groups = 1 if paired else 2
    guess = math.inf
    if difference:
        guess = _PER_SEED * groups * (deviation / difference) ** 2 + _FOR_SPREAD / groups
    return _fewest(
        lambda n: power(difference, deviation, n, level=level, paired=paired) >= chance, guess
    )


def seeds_for_equivalence(
    margin: float, deviation: float, *, chance: float = POWER, level: float = LEVEL
) -> int | None:
    """Return how many seeds show that a true mean of 0 lies within a margin.

    Parameters
    ----------
    margin : float
        Above 0.
    deviation : float
        Standard deviation of the values.

    Notes
    -----
    Both one-sided tests must reject.
    """
    return _fewest(
        lambda n: equivalence_power(margin, deviation, n, level=level) >= chance,
        _PER_SEED * (deviation / margin) ** 2,
    )


def equivalence_power(margin: float, deviation: float, n: int, *, level: float = LEVEL) -> float:
    """Return the chance that n values of true mean 0 are shown to lie within a margin."""
    from scipy.special import ndtr, stdtrit

    freedom, error = _error(deviation, n, paired=True)
    if error == 0:
        return float(margin > 0)
    spreads, chances = _spreads(freedom)
    room = margin / error - stdtrit(freedom, 1 - level) * spreads
    return float(chances @ (2 * ndtr(room) - 1).clip(0.0))


@lru_cache(256)
def _spreads(freedom: int) -> tuple[FloatArray, FloatArray]:
    """Return ratios of a sample's standard deviation to the true one, and their chances.

    Gauss and Legendre's rule for the chi distribution.
    """
    import numpy as np

    places, weights = _legendre()
    reach = _REACH / math.sqrt(2 * freedom)
    low, high = max(0.0, 1 - reach), 1 + reach
    spreads = (low + high) / 2 + (high - low) / 2 * places
    logarithms = (freedom - 1) * np.log(spreads) - freedom * spreads**2 / 2
    chances = weights * np.exp(logarithms - logarithms.max())
    return spreads, chances / chances.sum()


@cache
def _legendre() -> tuple[FloatArray, FloatArray]:
    import numpy as np

    return np.polynomial.legendre.leggauss(_PLACES)


def _error(deviation: float, n: int, paired: bool) -> tuple[int, float]:
    if n < 2:
        raise ValueError(f"n = {n}: a test takes at least 2 seeds")
    if paired:
        return n - 1, deviation / math.sqrt(n)
    return 2 * n - 2, deviation * math.sqrt(2 / n)


def _fewest(enough: Callable[[int], bool], guess: float) -> int | None:
    """Return the least n of 2 ... 100,000 that is enough; more are as well."""
    low, high = 1, math.ceil(min(max(2.0, guess), MOST_SEEDS))
    step = 1
    if enough(high):
        while (smaller := high - step) > 1 and enough(smaller):
            high, step = smaller, 2 * step
        low = max(low, smaller)
    else:
        while not enough(high):
            if high == MOST_SEEDS:
                return None
            low, high, step = high, min(high + step, MOST_SEEDS), 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
