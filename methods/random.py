"""Random selection, by default of each class: the control of everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from bench.contract import (
    CompressedSet,
    Context,
    ImageDataset,
    Keeps,
    Method,
    MethodInfo,
    register,
)
from methods.parts.draws import drawn, pools_by_label
from methods.parts.released import each_rounded, fraction_of

if TYPE_CHECKING:
    from bench.budgets import Budget


@register("random")
@dataclass(frozen=True)
class Random(Method):
    """Keep a uniform draw of each class.

    Classes are kept in proportion to their size and the total is exact (largest remainder),
    where DeepCore's and DQ's ``uniform.py`` round every class on its own.

    Parameters
    ----------
    edition : {"paper", "released"}
        Our exact and paired draw, or the one of ``uniform.py:12-29``.
    balance : bool
        Draw each class on its own, or the whole set at once.
    rounding : {"exact", "released"}
        As in :class:`methods.parts.selection.GraphCutMethod`.
    draw : {"paired", "released"}
        The lowest of priorities that all methods of a selection seed share, or
        ``np.random.choice`` with the selection seed itself.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="class-balanced random",
        paper="none",
        year=None,
        kind="baseline",
        code="DeepCore uniform.py (rounds each class on its own)",
        released=True,
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {"rounding": "released", "draw": "released"}
    }
    edition: Literal["paper", "released"] = "paper"
    balance: bool = True
    rounding: Literal["exact", "released"] = "exact"
    draw: Literal["paired", "released"] = "paired"

    @property
    def keeps(self) -> Keeps:
        """What of a budget the method keeps to: its own count where classes are rounded."""
        return Keeps.IMAGES if self.rounding == "exact" else Keeps.ITS_OWN_COUNT

    @property
    def balanced(self) -> bool:
        """Whether every class keeps its share of the budget."""
        return self.balance and self.rounding == "exact"

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the draw, class by class."""
        labels = train.labels if self.balance else np.zeros_like(train.labels)
        sizes = np.bincount(labels, minlength=len(train.classes) if self.balance else 1)
        if self.rounding == "released":
            counts = each_rounded(sizes, fraction_of(budget))
        else:
            counts = budget.images_by_class(sizes)
        pools = pools_by_label(np.arange(len(train)), labels, counts)
        kept = drawn([pools], self.draw, train, ctx)
        if self.keeps is Keeps.IMAGES:
            return CompressedSet(kept)
        asked = {"asked_images": budget.images(len(train)), "kept_images": len(kept)}
        return CompressedSet(kept, notes=asked)
