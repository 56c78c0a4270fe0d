"""The verdict on a claim: tests of ours against the published number, at the 5 % level."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from reports.claims.claim import FACTOR, NO_NUMBER_MARGIN
from reports.statistics import LEVEL, equivalence, seeds_for_equivalence, seeds_needed
from reports.tables import signed

if TYPE_CHECKING:
    from reports.claims.claim import Claim
    from reports.claims.evidence import Evidence
    from reports.statistics import Effect


class Verdict(StrEnum):
    """What our records say of a published number.

    The published number is taken as exact. "Shown" means by a test at the 5 % level.
    """

    REPRODUCED = "reproduced"
    """Ours lies within the margin around the published number (two one-sided tests)."""
    SHIFTED = "shifted"
    """Ours is shown to be another number, and the claim's direction is shown to hold; or, where
    the claim has no direction, ours is not shown to be more than a margin away."""
    NOT_REPRODUCED = "not reproduced"
    """Ours is shown to be another number and the claimed direction is not shown; or ours is
    shown to be on the wrong side, or nearer to equal than counts."""
    NOT_TESTABLE = "not testable"
    """The records cannot tell: too few seeds, or nothing of the claim can be tested."""
    NOT_RUN = "not run"
    """There are no records of it."""


def judge(claim: Claim, found: Evidence) -> tuple[Verdict, str]:
    """Return the verdict and why, in a sentence or two.

    Where data, model or protocol are not those of the publication, only the direction is tested.
    """
    if claim.compare == "no loss":
        verdict, why = _no_loss(claim, found.effect)
    elif claim.value is None or found.departures:
        verdict, why = _direction(claim, found.direction)
    else:
        verdict, why = _size(claim, found)
    if found.departures:
        why = f"Direction only ({'; '.join(found.departures)}). {why}"
    return verdict, ". ".join([why.rstrip("."), *map(_sentence, found.remarks)]) + "."


def _size(claim: Claim, found: Evidence) -> tuple[Verdict, str]:
    beyond = found.effect.minus(float(claim.value or 0))
    low, high = claim.tolerance
    told = f"{signed(beyond.mean)} from the published number, margin {_range(low, high)}"
    if beyond.error is None:
        return Verdict.NOT_TESTABLE, f"{_ONE_RUN}; {told}"
    test = equivalence(beyond, low, high)
    if test.p_inside < LEVEL:
        return Verdict.REPRODUCED, f"{told}: within"
    differs, outside = beyond.p_value() < LEVEL, test.p_outside < LEVEL
    if found.direction is not None and (differs or outside):
        counts = high if claim.metric == "accuracy" else smallest_gain(claim)
        holds, fails = _sides(found.direction, counts)
        if holds:
            return Verdict.SHIFTED, f"{told}; the direction holds"
        if fails:
            return Verdict.NOT_REPRODUCED, f"{told}; the claimed gain is {_less_than(counts)}"
        if outside:
            return Verdict.NOT_REPRODUCED, f"{told}; the direction is not shown either"
    elif outside:
        return Verdict.NOT_REPRODUCED, f"{told}: shown to be outside"
    elif differs:
        return Verdict.SHIFTED, f"{told}: shown to differ, not shown to be outside"
    return Verdict.NOT_TESTABLE, f"{told}; {_too_few(found.effect, min(-low, high))}"


def _direction(claim: Claim, effect: Effect | None) -> tuple[Verdict, str]:
    if effect is None:
        reason = (
            "the claim has no direction"
            if not claim.than or not claim.direction
            else (f"there is no record of {claim.than} with common seeds")
        )
        return Verdict.NOT_TESTABLE, f"Nothing can be tested: {reason}"
    side = f"{claim.methods[0]} {claim.direction} {claim.than}"
    amount = f"{signed(effect.mean)} in the claimed direction ({side})"
    if effect.error is None:
        return Verdict.NOT_TESTABLE, f"{_ONE_RUN}; {amount}"
    counts = smallest_gain(claim)
    holds, fails = _sides(effect, counts)
    if holds:
        return Verdict.REPRODUCED, f"{amount}: shown"
    if fails:
        return Verdict.NOT_REPRODUCED, f"{amount}: {_less_than(counts)}"
    return Verdict.NOT_TESTABLE, f"{amount}: not shown; {_too_few_to_separate(effect)}"


def _no_loss(claim: Claim, effect: Effect) -> tuple[Verdict, str]:
    margin = claim.tolerance[1]
    told = f"{signed(effect.mean)} against {claim.than}, a loss counts from {margin:g} on"
    if effect.error is None:
        return Verdict.NOT_TESTABLE, f"{_ONE_RUN}; {told}"
    if effect.p_above(-margin) < LEVEL:
        return Verdict.REPRODUCED, f"{told}: none that counts"
    if effect.p_below(-margin) < LEVEL:
        return Verdict.NOT_REPRODUCED, f"{told}: shown to lose more"
    if effect.p_below(0) < LEVEL:
        return Verdict.SHIFTED, f"{told}: some loss is shown, not whether it counts"
    return Verdict.NOT_TESTABLE, f"{told}; {_too_few(effect, margin)}"


def _sides(effect: Effect, counts: float) -> tuple[bool, bool]:
    """Return whether the claimed direction is shown to hold, and whether to fail.

    It fails where ours is shown to stay below what counts as a gain.
    """
    holds = effect.p_above(0) < LEVEL
    return holds, not holds and effect.p_below(counts) < LEVEL


def smallest_gain(claim: Claim) -> float:
    """Return what counts in the claimed direction where only that is tested.

    Half a point of accuracy; for times, in percent, the factor of the claim.
    """
    if claim.metric != "selection time":
        return NO_NUMBER_MARGIN
    factor = claim.factor or FACTOR
    return 100 * (factor - 1) if claim.direction == "above" else 100 * (1 - 1 / factor)


def _too_few(effect: Effect, margin: float) -> str:
    if not effect.error:
        return _equal(effect)
    wanted = seeds_for_equivalence(margin, effect.deviation or 0.0)
    return f"too few seeds: n = {effect.n}, {_interval(effect)}{_about(wanted)}"


def _too_few_to_separate(effect: Effect) -> str:
    if not effect.error:
        return _equal(effect)
    wanted = seeds_needed(effect.mean, effect.deviation or 0.0) if effect.mean > 0 else None
    return f"too few seeds: n = {effect.n}, {_interval(effect)}{_about(wanted)}"


def _equal(effect: Effect) -> str:
    return f"too few seeds: {effect.n} equal values show no spread"


def _interval(effect: Effect) -> str:
    return f"interval ± {effect.estimate().half_width or 0.0:.2f}"


def _about(seeds: int | None) -> str:
    return "" if seeds is None else f"; about {seeds:,} seeds would do if this spread is typical"


def _less_than(counts: float) -> str:
    return f"shown to be less than {counts:g}, if any"


def _range(low: float, high: float) -> str:
    return f"± {high:g}" if low == -high else f"{signed(low)} to {signed(high)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


_ONE_RUN = "Too few seeds: one run has no interval"
