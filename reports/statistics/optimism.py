"""What reporting the best epoch on the test split adds to the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from reports.statistics.intervals import effect_over_seeds
from reports.statistics.ranking import kendall_tau

if TYPE_CHECKING:
    from reports.statistics.intervals import Estimate, Runs


@dataclass(frozen=True)
class Optimism:
    """By how much the best epoch is above the last one.

    Parameters
    ----------
    by_method : mapping of method to Estimate
        Best minus last, over the method's runs; never below 0.
    spread : float
        The largest of these means minus the smallest: by how much a comparison of two methods
        can move when both report their best epoch.
    agreement : float or None
        Kendall's tau between the orders of the methods by last and by best epoch.
    """

    by_method: Mapping[str, Estimate]
    spread: float
    agreement: float | None


def optimism(last: Mapping[str, Runs], best: Mapping[str, Runs]) -> Optimism:
    """Return what choosing the epoch on the test split adds, by method.

    Parameters
    ----------
    last, best : mapping of method to runs
        Accuracies after the last epoch and in the best one, of the same runs.

    Raises
    ------
    ValueError
        For no method, or where the runs of the two differ.
    """
    if not last or {m: set(r) for m, r in last.items()} != {m: set(r) for m, r in best.items()}:
        raise ValueError("the best epochs must be those of the same runs as the last ones")
    gains = {
        method: effect_over_seeds({key: best[method][key] - value for key, value in runs.items()})
        for method, runs in last.items()
    }
    means = [effect.mean for effect in gains.values()]
    orders = ({m: fmean(runs.values()) for m, runs in of.items()} for of in (last, best))
    return Optimism(
        {method: effect.estimate() for method, effect in gains.items()},
        max(means) - min(means),
        kendall_tau(*orders),
    )
