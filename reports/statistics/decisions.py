"""Decisions from several tests: Holm's correction, equivalence, the one best of several."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from reports.statistics.intervals import Effect

LEVEL = 0.05
"""The chance of a wrong decision that every test here allows."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Equivalence:
    """What two one-sided tests say of a mean and a range around 0.

    Parameters
    ----------
    p_inside, p_outside : float
        p-values for the mean lying inside the range, and for it lying outside.
    low, high : float
        Ends of the interval that holds the mean with ``1 - 2 level`` confidence. It lies within
        the range exactly when ``p_inside`` is below the level, but for values that are all the
        same: their interval has no length, and their p-values are the sign test's.
    """

    p_inside: float
    p_outside: float
    low: float
    high: float


def equivalence(
    effect: Effect, low: float, high: float | None = None, level: float = LEVEL
) -> Equivalence:
    """Test whether a mean lies within a range (TOST, Schuirmann 1987).

    Parameters
    ----------
    effect : Effect
        The mean; one value alone is never shown to lie anywhere.
    low, high : float
        The range's ends; with one number it is from its negative to it.
    level : float
        Of each of the two one-sided tests.

    Raises
    ------
    ValueError
        When the range is empty.
    """
    low, high = (-low, low) if high is None else (low, high)
    if not low < high:
        raise ValueError(f"the range from {low} to {high} is empty")
    ends = effect.interval(1 - 2 * level)
    return Equivalence(
        p_inside=max(effect.p_above(low), effect.p_below(high)),
        p_outside=min(effect.p_above(high), effect.p_below(low)),
        low=ends[0],
        high=ends[1],
    )


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Return p-values corrected for their number (Holm 1979).

    Rejecting those below a level keeps the chance of even one wrong rejection below it, whatever
    the tests have in common.
    """
    corrected: dict[Key, float] = {}
    largest = 0.0
    for place, key in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[key]))
        corrected[key] = largest
    return {key: corrected[key] for key in p_values}


def best_of(
    means: Mapping[Key, float],
    compared: Callable[[Key, Key], Effect | None],
    level: float = LEVEL,
) -> Key | None:
    """Return the group that is better than each other one, or None when that is not shown.

    The highest mean is compared with each other one by a two-sided test, with Holm's correction
    (1979). A group that cannot be compared with it leaves the question open, and so does one whose
    mean over common seeds is higher.

    Parameters
    ----------
    means : mapping of group to float
        Higher is better.
    compared : callable
        Returns the first group minus the second, paired, or None.
    level : float
        Chance of naming one where two are equally good.
    """
    if len(means) < 2:
        return None
    first = max(means, key=lambda key: means[key])
    effects = {key: compared(first, key) for key in means if key != first}
    p_values = {key: e.p_value() if e and e.mean > 0 else 1.0 for key, e in effects.items()}
    return first if all(p < level for p in holm(p_values).values()) else None
