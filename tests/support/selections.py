"""Picks of GraphCut without what is told of their search."""

from __future__ import annotations

from typing import Any

from bench.arrays import IntArray
from methods.parts.submodular import graphcut_binning, graphcut_selection


def graphcut_bins(*arguments: Any, **options: Any) -> list[IntArray]:
    """Divide a set into bins."""
    return graphcut_binning(*arguments, **options).bins


def graphcut_order(*arguments: Any, **options: Any) -> IntArray:
    """Select once."""
    return graphcut_selection(*arguments, **options).bins[0]
