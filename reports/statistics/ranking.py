"""Orders of methods: how firm one is, and how much two agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from reports.statistics.resampling import REPETITIONS

if TYPE_CHECKING:
    from reports.statistics.intervals import Runs


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

    1 is the same order, 0 none in common. None for fewer than two methods, or where one of the
    two has no order because all its values are equal.
    """
    common = sorted(ours.keys() & theirs.keys())
    agreement, ties = 0, [0, 0]
    for first, second in combinations(common, 2):
        signs = [_sign(values[first] - values[second]) for values in (ours, theirs)]
        agreement += signs[0] * signs[1]
        ties = [count + (sign == 0) for count, sign in zip(ties, signs, strict=True)]
    pairs = len(common) * (len(common) - 1) // 2
    ordered = (pairs - ties[0]) * (pairs - ties[1])
    return agreement / sqrt(ordered) if ordered else None


def rank_stability(
    methods: Mapping[str, Runs], *, seed: int = 0, repetitions: int = REPETITIONS
) -> Stability | None:
    """Return how firm the order of methods by their means is.

    The seeds that all methods have in common are drawn with replacement, the same for all, and
    the methods are put in order anew. A selection seed and its training seed are drawn together.

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
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(common), size=(repetitions, len(common)))
    means = table[:, picks].mean(axis=2).T
    ranks = _ranks(means)
    first = ranks == ranks.min(axis=1, keepdims=True)
    best = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="nearest")
    now = _ranks(table.mean(axis=1)[None])[0]
    taus = _taus(table.mean(axis=1), means)
    return Stability(
        {
            name: Rank(float(now[k]), float(low[k]), float(high[k]), float(best[k]))
            for k, name in enumerate(methods)
        },
        float(np.mean(taus)) if len(taus) else None,
        len(common),
    )


def _taus(now: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b of one order with each of several, where it has a value."""
    first, second = np.triu_indices(len(now), 1)
    own = np.sign(now[first] - now[second])
    signs = np.sign(others[:, first] - others[:, second])
    ordered = np.count_nonzero(own) * np.count_nonzero(signs, axis=1)
    usable = ordered > 0
    return np.asarray((signs[usable] @ own) / np.sqrt(ordered[usable]))


def _ranks(means: np.ndarray) -> np.ndarray:
    """Return the ranks along the last axis, the highest value is 1; ties share their mean."""
    higher = (means[:, None, :] > means[:, :, None]).sum(axis=2)
    same = (means[:, None, :] == means[:, :, None]).sum(axis=2)
    return np.asarray(higher + (same + 1) / 2)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
