"""Means of repeated runs with intervals that fit how their seeds are combined."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean, variance
from typing import TYPE_CHECKING

from reports.statistics.rounding import TIE, are_equal

if TYPE_CHECKING:
    from collections.abc import Sequence

_DECIMALS = 9
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


@dataclass(frozen=True)
class Effect:
    """A mean with what tests of it need.

    Parameters
    ----------
    mean : float
        Of the n values.
    error : float or None
        Standard error of the mean; None when one value tells nothing of it.
    freedom : float
        Degrees of freedom of the standard error.
    n : int
        Number of values.
    """

    mean: float
    error: float | None
    freedom: float
    n: int

    @property
    def deviation(self) -> float | None:
        """The standard deviation that n independent values with this error would have."""
        return None if self.error is None else self.error * math.sqrt(self.n)

    def minus(self, value: float) -> Effect:
        """Return the effect beyond a fixed value."""
        return replace(self, mean=self.mean - value)

    def estimate(self, confidence: float = 0.95) -> Estimate:
        """Return the mean with its interval."""
        if self.error is None:
            return Estimate(self.mean, None, self.n)
        return Estimate(self.mean, _quantile(self.freedom, confidence) * self.error, self.n)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval's ends; infinite for one value."""
        half_width = self.estimate(confidence).half_width
        half_width = math.inf if half_width is None else half_width
        return self.mean - half_width, self.mean + half_width

    def p_above(self, null: float = 0.0) -> float:
        """Return the one-sided p-value of Student's test that the mean is above ``null``.

        It is 1 for one value. Values that are all the same have no spread to judge by; they get the
        sign test's, on the side where they lie: one half to the power of their number, of two for
        seeds that are crossed.
        """
        from scipy.special import stdtr

        if self.error is None or (self.error == 0 and abs(self.mean - null) <= TIE):
            return 1.0
        if self.error == 0:
            return 1.0 if self.mean < null else 0.5 ** (self.freedom + 1)
        return float(stdtr(self.freedom, (null - self.mean) / self.error))

    def p_below(self, null: float = 0.0) -> float:
        """Return the one-sided p-value that the mean is below ``null``; as :meth:`p_above`."""
        return replace(self, mean=-self.mean).p_above(-null)

    def p_value(self, null: float = 0.0) -> float:
        """Return the two-sided p-value of Student's test that the mean is not ``null``."""
        return min(1.0, 2 * min(self.p_above(null), self.p_below(null)))


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return the mean of independent values and its Student t interval.

    Parameters
    ----------
    values : sequence of float
        At least one.
    confidence : float
        In 0 ... 1.
    """
    return independent(values).estimate(confidence)


def independent(values: Sequence[float]) -> Effect:
    """Return the mean of independent values with its standard error."""
    n = len(values)
    if n < 2:
        return Effect(fmean(values), None, 0, n)
    mean = fmean(values)
    if are_equal(values):  # their mean may be another number in its last bit
        return Effect(mean, 0.0, n - 1, n)
    squares = math.fsum([(value - mean) ** 2 for value in values])
    return Effect(mean, math.sqrt(squares / (n - 1) / n), n - 1, n)


def effect_over_seeds(runs: Runs) -> Effect:
    """Return the mean of runs with a standard error that fits how their seeds are combined.

    Where every run has seeds of its own, or one of the two seeds is common to all, the runs are
    independent. Where selections and trainings are crossed, they are not: the error is then that
    of a two-way layout with random effects of both, with Satterthwaite's degrees of freedom
    (Searle, Casella and McCulloch 1992, ch. 4).

    Notes
    -----
    A crossed layout with missing runs falls back to the means of whichever seed has fewer values,
    and so does one where several trainings of their own share a selection. Runs that differ though
    the means over either seed do not are taken for independent: they are not without spread.
    """
    effect = _over_seeds(runs)
    if effect.error is not None and effect.error <= TIE and not are_equal(runs.values()):
        return independent(list(runs.values()))
    return effect


def _over_seeds(runs: Runs) -> Effect:
    selections, trainings = (len({key[axis] for key in runs}) for axis in (0, 1))
    if min(selections, trainings) in (1, len(runs)):
        return independent(list(runs.values()))
    by_selection, by_training = _margins(runs)
    if len(runs) < selections * trainings:
        fewer = min(by_selection, by_training, key=len)
        of_means = independent([fmean(values) for values in fewer.values()])
        return replace(of_means, mean=fmean(runs.values()), n=len(runs))
    return _two_way(runs, by_selection, by_training)


def interval_over_seeds(runs: Runs, confidence: float = 0.95) -> Estimate:
    """Return the mean of runs and its interval, as :func:`effect_over_seeds` has it."""
    return effect_over_seeds(runs).estimate(confidence)


def matched(
    ours: Runs, theirs: Runs, *, ours_seeded: bool = True, theirs_seeded: bool = True
) -> dict[tuple[int, int], tuple[float, float]]:
    """Return the pairs of values over the seeds that both have.

    Parameters
    ----------
    ours, theirs : mapping of (selection seed, training seed) to float
        The runs of two methods.
    ours_seeded, theirs_seeded : bool
        Whether the method's selection depends on its seed. Where it does not, a run stands for
        every selection seed that the other method has with the same training seed.
    """
    if ours_seeded and not theirs_seeded:
        by_training = {training: value for (_, training), value in theirs.items()}
        theirs = {key: by_training[key[1]] for key in ours if key[1] in by_training}
    elif theirs_seeded and not ours_seeded:
        by_training = {training: value for (_, training), value in ours.items()}
        ours = {key: by_training[key[1]] for key in theirs if key[1] in by_training}
    return {key: (ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())}


def paired_effect(
    ours: Runs, theirs: Runs, *, ours_seeded: bool = True, theirs_seeded: bool = True
) -> Effect | None:
    """Return ours minus theirs over the seeds that :func:`matched` finds in both, or None."""
    pairs = matched(ours, theirs, ours_seeded=ours_seeded, theirs_seeded=theirs_seeded)
    if not pairs:
        return None
    # Rounded, so that the same difference of counts has the same digits and no spread.
    apart = {key: round(ours - theirs, _DECIMALS) for key, (ours, theirs) in pairs.items()}
    return effect_over_seeds(apart)


def _two_way(
    runs: Runs,
    by_selection: Mapping[int, Sequence[float]],
    by_training: Mapping[int, Sequence[float]],
) -> Effect:
    selections, trainings = len(by_selection), len(by_training)
    mean = fmean(runs.values())
    if are_equal(runs.values()):
        return Effect(mean, 0.0, 1.0, len(runs))
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
    freedom = max(1.0, total**2 / uncertainty)
    return Effect(mean, math.sqrt(total / len(runs)), freedom, len(runs))


def _margins(runs: Runs) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    by_selection: dict[int, list[float]] = defaultdict(list)
    by_training: dict[int, list[float]] = defaultdict(list)
    for (selection, training), value in runs.items():
        by_selection[selection].append(value)
        by_training[training].append(value)
    return by_selection, by_training


@lru_cache(10_000)
def _quantile(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))
