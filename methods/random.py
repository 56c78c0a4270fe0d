"""Class-balanced random selection: the control of everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.contract import CompressedSet, Context, ImageDataset, Method, MethodInfo, register
from methods.parts.draws import lowest, priorities

if TYPE_CHECKING:
    from bench.budgets import Budget


@register("random")
@dataclass(frozen=True)
class Random(Method):
    """Keep a uniform draw of each class.

    Classes are kept in proportion to their size and the total is exact (largest remainder),
    where DeepCore's and DQ's ``uniform.py`` round every class on its own.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="class-balanced random",
        paper="none",
        year=0,
        kind="baseline",
        code="DeepCore uniform.py (rounds each class on its own)",
        released=True,
    )

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the draw, class by class."""
        priority = priorities(train, ctx)
        kept = [
            lowest(np.flatnonzero(train.labels == label), priority, count)
            for label, count in enumerate(budget.images_by_class(train.class_counts))
        ]
        return CompressedSet(np.concatenate(kept))
