"""Budgets: what may be kept, turned into exact counts by one rounding rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import FloatArray, IntArray

_SMALLEST = Decimal("1e-6")
_ALLOWED = "Give a percent above 0 and at most 100, for example 20"
_BYTES = "b"


@dataclass(frozen=True, order=True)
class Budget:
    """A share of the training split, in percent (exact decimals, 0 < percent <= 100).

    Parameters
    ----------
    percent : Decimal
        The share.
    of : {"images", "bytes"}
        What it is a share of: the number of images, or the bytes that they and their labels
        take uncompressed.
    """

    percent: Decimal
    of: Literal["images", "bytes"] = "images"

    def __post_init__(self) -> None:
        if not _SMALLEST <= self.percent <= 100:
            raise UsageError(f"ratio {self.percent} is not allowed. {_ALLOWED}")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read a percent as users type it; ``10b`` are 10 % of the bytes."""
        number = text.removesuffix(_BYTES)
        try:
            percent = Decimal(number)
        except InvalidOperation:
            meant = re.fullmatch(rf"([0-9]*\.?[0-9]+{_BYTES}?) ?%", text)
            hint = f" Did you mean {meant[1]}?" if meant else ""
            raise UsageError(f"ratio '{text}' is not a number.{hint} {_ALLOWED}") from None
        if not percent.is_finite():
            raise UsageError(f"ratio '{text}' is not allowed. {_ALLOWED}")
        return cls(percent, "images" if number == text else "bytes")

    @property
    def label(self) -> str:
        """What :meth:`parse` reads, without trailing zeros, e.g. ``12.5`` or ``10b``."""
        digits = f"{self.percent:f}"  # not normalize(): it rounds to 28 digits
        short = digits.rstrip("0").rstrip(".") if "." in digits else digits
        return short + _BYTES * (self.of == "bytes")

    @property
    def words(self) -> str:
        """The budget for people, e.g. ``12.5 %`` or ``10 % of bytes``."""
        return f"{self.label.removesuffix(_BYTES)} %{' of bytes' * (self.of == 'bytes')}"

    @property
    def share(self) -> float:
        """The budget as a share, in 0 ... 1."""
        return float(self.percent) / 100

    def identity(self) -> dict[str, Any]:
        """Return what takes part in a cell's id."""
        return {"percent": self.label.removesuffix(_BYTES), "of": self.of}

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Budget:
        """Return the budget that :meth:`identity` told."""
        return cls(Decimal(identity["percent"]), identity["of"])

    def images(self, available: int) -> int:
        """Return the number of whole images to keep of ``available``.

        The nearest number for a share of images, halves up; a share of bytes is never exceeded.
        """
        exact = Fraction(self.percent) * available / 100
        return int(exact) if self.of == "bytes" else int(exact + Fraction(1, 2))

    def bytes(self, full_bytes: int) -> int:
        """Return the bytes that may be kept of ``full_bytes``, rounded down."""
        return int(Fraction(self.percent) * full_bytes / 100)

    def for_images_of(self, bytes_each: int, full_bytes_each: int, available: int) -> Budget:
        """Return the budget in whole images for a method whose images take fewer or more bytes.

        Parameters
        ----------
        bytes_each, full_bytes_each : int
            Bytes that a kept image takes, and an uncompressed one with its label.
        available : int
            Images of the training split.

        Raises
        ------
        UsageError
            When not even one image fits.
        """
        if self.of == "images":
            return self
        count = min(available, self.bytes(available * full_bytes_each) // bytes_each)
        if count == 0:
            raise UsageError(f"ratio {self.label} holds no image of {bytes_each} bytes. Raise it")
        return Budget.exactly(count, available)

    @classmethod
    def exactly(cls, count: int, available: int) -> Budget:
        """Return the budget that keeps ``count`` of ``available`` images."""
        return cls(Context(prec=40).divide(100 * Decimal(count), Decimal(available)))

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


@dataclass(frozen=True)
class ClassBudget(Budget):
    """A budget whose classes get other numbers of images than their share.

    Parameters
    ----------
    by_class : tuple of int
        Images to keep of each class.
    """

    by_class: tuple[int, ...] = ()

    @classmethod
    def of_classes(cls, by_class: Sequence[int], available: int) -> ClassBudget:
        """Return the budget that keeps these numbers of images of the classes."""
        counts = tuple(int(count) for count in by_class)
        return cls(cls.exactly(sum(counts), available).percent, "images", counts)

    @classmethod
    def exactly(cls, count: int, available: int) -> Budget:
        """Return the plain budget that keeps ``count`` of ``available`` images."""
        return Budget.exactly(count, available)

    def identity(self) -> dict[str, Any]:
        """Return what tells this budget from others."""
        return {**super().identity(), "by_class": list(self.by_class)}

    def images_by_class(self, class_counts: Sequence[int] | IntArray) -> IntArray:
        """Return the numbers of images to keep of the classes; raise for more than there are."""
        counts = np.asarray(class_counts, dtype=np.int64)
        wanted = np.array(self.by_class, dtype=np.int64)
        if wanted.shape != counts.shape or (wanted > counts).any():
            raise UsageError(f"cannot keep {wanted.tolist()} of {counts.tolist()} images by class")
        return wanted


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
