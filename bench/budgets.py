"""Budgets: what may be kept, turned into exact counts by one rounding rule."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import FloatArray, IntArray

_SMALLEST = Decimal("1e-6")
_ALLOWED = "Give percents above 0 and at most 100, for example --ratios 10,20,30"


@dataclass(frozen=True, order=True)
class Budget:
    """A share of the training images, in percent (exact decimals, 0 < percent <= 100)."""

    percent: Decimal

    def __post_init__(self) -> None:
        if not _SMALLEST <= self.percent <= 100:
            raise UsageError(f"ratio {self.percent} is not allowed. {_ALLOWED}")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read a percent as users type it."""
        try:
            percent = Decimal(text)
        except InvalidOperation:
            raise UsageError(f"ratio '{text}' is not a number. {_ALLOWED}") from None
        if not percent.is_finite():
            raise UsageError(f"ratio '{text}' is not allowed. {_ALLOWED}")
        return cls(percent)

    @property
    def label(self) -> str:
        """The percent without trailing zeros, e.g. ``12.5``."""
        digits = f"{self.percent:f}"  # not normalize(): it rounds to 28 digits
        return digits.rstrip("0").rstrip(".") if "." in digits else digits

    def identity(self) -> dict[str, Any]:
        """Return what takes part in a cell's id."""
        return {"percent": self.label}

    def images(self, available: int) -> int:
        """Return the number of images to keep of ``available``: nearest, halves up."""
        exact = Fraction(self.percent) * available / 100
        return int(exact + Fraction(1, 2))

    def images_by_class(self, class_counts: Sequence[int] | IntArray) -> IntArray:
        """Return the number of images to keep of each class; the sum is exact.

        Shares are proportional to the classes' sizes, dealt by largest remainder with ties to
        the lowest class.
        """
        counts = np.asarray(class_counts, dtype=np.int64)
        total = self.images(int(counts.sum()))
        if total == 0:
            return np.zeros_like(counts)
        scaled = counts * total
        kept, rest = np.divmod(scaled, int(counts.sum()))
        most_left = np.argsort(-rest, kind="stable")[: total - int(kept.sum())]
        kept[most_left] += 1
        return kept


def largest_remainder(shares: FloatArray, total: int) -> IntArray:
    """Round non-negative shares to whole numbers with the given sum.

    Parameters
    ----------
    shares : float64 [n]
        What each part should get; their sum is ``total`` up to rounding error.
    total : int
        What is dealt in all.

    Notes
    -----
    Every part gets its floor or one more; ties go to the lowest index. A share within 1e-9 of a
    whole number counts as that number.
    """
    whole = np.floor(shares + 1e-9).astype(np.int64)
    remainder = np.round(shares - whole, 9)
    most_left = np.argsort(-remainder, kind="stable")[: total - int(whole.sum())]
    whole[most_left] += 1
    return whole


def parse_budgets(text: str) -> list[Budget]:
    """Read a comma list of percents; each may stand there once."""
    budgets: list[Budget] = []
    for part in text.split(","):
        budget = Budget.parse(part.strip())
        if budget in budgets:
            raise UsageError(f"ratio {budget.label} is given twice in '{text}'. Give it once")
        budgets.append(budget)
    return budgets
