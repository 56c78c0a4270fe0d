"""Statistics of repeated runs: pure functions of numbers, which know no model."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, stdev, variance
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Runs = Mapping[tuple[int, int], float]
    """A value for each pair of a selection seed and a training seed."""


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
    """Return the mean of independent values and its Student t interval.

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
    half_width = _quantile(n - 1, confidence) * stdev(values) / math.sqrt(n)
    return Estimate(fmean(values), half_width, n)


def interval_over_seeds(runs: Runs, confidence: float = 0.95) -> Estimate:
    """Return the mean of runs and an interval that fits how their seeds are combined.

    Where every run has seeds of its own, or one of the two seeds is common to all, the runs are
    independent and the interval is Student's. Where selections and trainings are crossed, they
    are not: the interval is then that of a two-way layout with random effects of both, with
    Satterthwaite's degrees of freedom (Searle, Casella and McCulloch 1992, ch. 4).

    Notes
    -----
    A crossed layout with missing runs falls back to the means of whichever seed has fewer values.
    """
    by_selection, by_training = _margins(runs)
    selections, trainings = len(by_selection), len(by_training)
    if min(selections, trainings) == 1 or len(runs) == max(selections, trainings):
        return t_interval(list(runs.values()), confidence)
    if len(runs) < selections * trainings:
        fewer = min(by_selection, by_training, key=len)
        estimate = t_interval([fmean(values) for values in fewer.values()], confidence)
        return Estimate(fmean(runs.values()), estimate.half_width, len(runs))
    return _two_way(runs, by_selection, by_training, confidence)


def paired_difference(ours: Runs, theirs: Runs, confidence: float = 0.95) -> Estimate | None:
    """Return the mean of ours minus theirs over the seeds that both have, or None."""
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    return interval_over_seeds({key: ours[key] - theirs[key] for key in common}, confidence)


def _two_way(
    runs: Runs,
    by_selection: Mapping[int, Sequence[float]],
    by_training: Mapping[int, Sequence[float]],
    confidence: float,
) -> Estimate:
    selections, trainings = len(by_selection), len(by_training)
    mean = fmean(runs.values())
    rows = {seed: fmean(values) for seed, values in by_selection.items()}
    columns = {seed: fmean(values) for seed, values in by_training.items()}
    residual = sum((v - rows[s] - columns[t] + mean) ** 2 for (s, t), v in runs.items())
    squares = [
        (trainings * variance(rows.values()), selections - 1),
        (selections * variance(columns.values()), trainings - 1),
        (residual / ((selections - 1) * (trainings - 1)), (selections - 1) * (trainings - 1)),
    ]
    of_selection, of_training, of_both = (square for square, _ in squares)
    total = max(of_selection + of_training - of_both, of_selection, of_training)
    uncertainty = sum(square**2 / freedom for square, freedom in squares)
    if uncertainty == 0:
        return Estimate(mean, 0.0, len(runs))
    freedom = total**2 / uncertainty
    half_width = _quantile(freedom, confidence) * math.sqrt(total / len(runs))
    return Estimate(mean, half_width, len(runs))


def _margins(runs: Runs) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    by_selection: dict[int, list[float]] = defaultdict(list)
    by_training: dict[int, list[float]] = defaultdict(list)
    for (selection, training), value in runs.items():
        by_selection[selection].append(value)
        by_training[training].append(value)
    return by_selection, by_training


def _quantile(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(1.0, freedom), (1 + confidence) / 2))
