"""Picking from each class on its own, or from the whole training split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from bench.contract import CompressedSet, Context, ImageDataset, Method

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.budgets import Budget

    Picker = Callable[[IntArray, int], IntArray]
    """Picks a number of images, at least one, of a pool of positions in the training split."""


class PoolMethod(Method):
    """A method that picks images from pools: the classes, or the whole training split.

    The classes are the pools with ``balance``, a parameter of the subclass; every class then
    keeps its share of the budget exactly (largest remainder).
    """

    balance: bool

    @property
    def balanced(self) -> bool:
        """Whether every class keeps its share of the budget."""
        return self.balance

    @abstractmethod
    def picker(self, train: ImageDataset, ctx: Context) -> Picker:
        """Return what picks of a pool, in the order of picking."""

    def pools(self, train: ImageDataset, budget: Budget) -> list[tuple[IntArray, int]]:
        """Return the positions of each pool, int64 ascending, and how many to pick of it."""
        if not self.balance:
            return [(np.arange(len(train)), budget.images(len(train)))]
        counts = budget.images_by_class(train.class_counts).tolist()
        return [(np.flatnonzero(train.labels == c), count) for c, count in enumerate(counts)]

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the picks, pool by pool."""
        pick, kept = self.picker(train, ctx), []
        pools = self.pools(train, budget)
        for number, (pool, count) in enumerate(pools, start=1):
            kept.append(pick(pool, count) if count else pool[:0])
            ctx.progress("selection", number, len(pools))
        return CompressedSet(np.concatenate(kept))
