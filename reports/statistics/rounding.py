"""What rounding must not decide: ties, and the last bits of sums."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bench.arrays import FloatArray

TIE = 1e-9
"""Percentage points. Means of accuracies are counts over numbers of images and differ by more."""
_DECIMALS = 10


def signs(differences: FloatArray) -> FloatArray:
    """Return -1, 0 or 1 for each difference; 0, a tie, where it is nothing but rounding."""
    return np.where(np.abs(differences) <= TIE, 0.0, np.sign(differences))


def are_equal(values: Collection[float]) -> bool:
    """Return whether values differ by nothing but rounding."""
    return max(values) - min(values) <= TIE


def settled(value: Any) -> float:
    """Return a number to ten decimals, on which the order of adding has no influence."""
    return round(float(value), _DECIMALS)
