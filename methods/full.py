"""The whole training set: the upper reference of every table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.contract import CompressedSet, Context, ImageDataset, Method, MethodInfo, register

if TYPE_CHECKING:
    from bench.budgets import Budget


@register("full")
@dataclass(frozen=True)
class Full(Method):
    """Keep every image."""

    info: ClassVar[MethodInfo] = MethodInfo(
        title="full data",
        paper="none",
        year=None,
        kind="baseline",
        code="not needed",
        seeded=False,
        budgeted=False,
    )

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return all positions in their order."""
        return CompressedSet(np.arange(len(train), dtype=np.int64))
