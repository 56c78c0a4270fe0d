"""Orders of methods: how firm one is, and how much two agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reports.statistics.resampling import REPETITIONS, draws
from reports.statistics.rounding import settled, signs

if TYPE_CHECKING:
    from bench.arrays import FloatArray
    from reports.statistics.intervals import Runs

_LITTLE = 1e-12
"""What a sum of chances may be off by rounding."""


@dataclass(frozen=True)
class Rank:
    """A method's place among others, 1 is the best.

    Parameters
    ----------
    rank : float
        By its mean; methods with equal means share the mean of their places.
    low, high : float
        Between these lie 95 of 100 ranks that other draws of the seeds would give.
    best : float
        Share of such draws where the method is first, in 0 ... 1; ties are shared.
    """

    rank: float
    low: float
    high: float
    best: float


@dataclass(frozen=True)
class Stability:
    """How firm an order of methods is.

    Parameters
    ----------
    ranks : mapping of method to Rank
        Of all methods.
    agreement : float or None
        Mean of Kendall's tau between the order and those of other draws of the seeds.
    seeds : int
        Seed pairs that all methods have in common; only those take part.
    """

    ranks: Mapping[str, Rank]
    agreement: float | None
    seeds: int


def kendall_tau(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float | None:
    """Return Kendall's tau-b of the methods that both have, in -1 ... 1.

    1 is the same order, 0 none in common; values that differ by mere rounding are
    ties. None for fewer than two methods, or where one of the two has no order because all its
    values are equal.
    """
    common = sorted(ours.keys() & theirs.keys())
    both = [np.array([values[key] for key in common]) for values in (ours, theirs)]
    (tau,) = _taus(both[0], both[1][None])
    return None if np.isnan(tau) else settled(tau)


def rank_stability(
    methods: Mapping[str, Runs], *, seed: int = 0, repetitions: int = REPETITIONS
) -> Stability | None:
    """Return how firm the order of methods by their means is.

    The seeds that all methods have in common are drawn with replacement, the same for all, and
    the methods are put in order anew. A selection seed and its training seed are drawn together.
    All draws that there are take part, each with its chance, where these are few enough (up to
    six seeds); otherwise as many as ``repetitions``.

    Parameters
    ----------
    methods : mapping of name to runs
        Higher values are better.
    seed : int
        Of the draws.

    Returns
    -------
    Stability or None
        None for fewer than two methods or no seeds in common.
    """
    common = sorted(set.intersection(*(set(runs) for runs in methods.values()))) if methods else []
    if len(methods) < 2 or not common:
        return None
    table = np.array([[runs[key] for key in common] for runs in methods.values()])
    counts, chances = draws(len(common), seed, repetitions)
    now = table.mean(axis=1)
    means = (counts[:, None] * table[None]).sum(axis=2) / len(common)
    ranks = _ranks(means)
    first = ranks == ranks.min(axis=1, keepdims=True)
    best = np.average(first / first.sum(axis=1, keepdims=True), axis=0, weights=chances)
    low, high = (_quantiles(ranks, chances, share) for share in (0.025, 0.975))
    place = _ranks(now[None])[0]
    taus = _taus(now, means)
    ordered = ~np.isnan(taus)
    return Stability(
        {
            name: Rank(float(place[k]), float(low[k]), float(high[k]), settled(best[k]))
            for k, name in enumerate(methods)
        },
        settled(np.average(taus[ordered], weights=chances[ordered])) if ordered.any() else None,
        len(common),
    )


def _taus(now: FloatArray, others: FloatArray) -> FloatArray:
    """Return Kendall's tau-b of one order with each of several; NaN where it has no value."""
    first, second = np.triu_indices(len(now), 1)
    own = signs(now[first] - now[second])
    theirs = signs(others[:, first] - others[:, second])
    ordered = np.count_nonzero(own) * np.count_nonzero(theirs, axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((theirs @ own) / np.sqrt(ordered))


def _quantiles(values: FloatArray, chances: FloatArray, share: float) -> FloatArray:
    """Return of each column the least value that so much of the chance lies at or below."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(chances[order], axis=0)
    places = (reached < share - _LITTLE).sum(axis=0, keepdims=True)
    return np.asarray(np.take_along_axis(np.take_along_axis(values, order, 0), places, 0)[0])


def _ranks(means: FloatArray) -> FloatArray:
    """Return the ranks along the last axis, the highest value is 1; ties share their mean."""
    apart = signs(means[:, None, :] - means[:, :, None])
    higher, same = (apart > 0).sum(axis=2), (apart == 0).sum(axis=2)
    return np.asarray(higher + (same + 1) / 2)
