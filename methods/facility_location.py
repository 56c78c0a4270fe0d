"""Facility location: every image is represented by the kept one most like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench import resources
from bench.contract import MethodInfo, register
from bench.errors import UsageError
from methods.parts.selection import GreedySelection

if TYPE_CHECKING:
    from bench.arrays import Float32Array, IntArray
    from bench.budgets import Budget
    from bench.contract import CompressedSet, Context, ImageDataset


@register("facility-location")
@dataclass(frozen=True)
class FacilityLocation(GreedySelection):
    r"""Keep the greedy maximiser of the facility location function, in each class.

    :math:`f(S) = \sum_i \max_{j \in S} s(i, j)` with :math:`s = 1/2 + 1/2 \cos`, as DeepCore's
    ``submodular_function.py``. Gains only shrink as the set grows (f is submodular), so that an
    old gain bounds the new one: only images whose bound is the highest are computed again
    (Minoux 1978). Picks and ties, to the lowest index, are those of the plain greedy.

    Parameters
    ----------
    extractor, extractor_epochs, balance
        As in :class:`methods.parts.selection.EmbeddingSelection`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="facility location",
        paper="Iyer & Bilmes 2013; DeepCore, arXiv 2204.08499",
        year=2022,
        kind="selection",
        code="DeepCore",
        released=True,
    )

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the picks, pool by pool.

        Raises
        ------
        UsageError
            When the pairs of a pool do not fit into memory; before its embeddings are made.
        """
        self._refuse_too_many(
            max((len(pool) for pool, count in self.pools(train, budget) if count), default=0)
        )
        return super().compress(train, budget, ctx)

    def pick(self, features: Float32Array, count: int) -> IntArray:
        """Return the greedy picks; n x n similarities of one pool are held in memory.

        Raises
        ------
        UsageError
            When they do not fit.
        """
        length = np.linalg.norm(features, axis=1, keepdims=True)
        unit = features / np.where(length > 0, length, 1)
        self._refuse_too_many(len(unit))
        similarity = unit @ unit.T
        similarity *= 0.5
        similarity += 0.5
        best = np.zeros(len(unit), dtype=similarity.dtype)
        bound = np.full(len(unit), np.inf)
        picked = np.empty(count, dtype=np.int64)
        for k in range(count):
            picked[k] = _highest_gain(similarity, best, bound)
            best = np.maximum(best, similarity[picked[k]])
            bound[picked[k]] = -np.inf
        return picked

    def _refuse_too_many(self, images: int) -> None:
        needed, free = 4 * images**2, resources.available_memory()
        if needed > free:
            pool, choice = (
                ("a class", "") if self.balance else ("the training split", "balance=true, or ")
            )
            raise UsageError(
                f"{self.name} compares all pairs of {pool}: those of {images:,} images take "
                f"{needed / 2**30:.3g} GiB, and {free / 2**30:.3g} are free. Take {choice}a method "
                "that does not, e.g. kcenter or graphcut"
            )


def _highest_gain(similarity: np.ndarray, best: np.ndarray, bound: np.ndarray) -> int:
    """Return the lowest index of highest gain; ``bound`` holds old gains and is brought up."""
    fresh = np.zeros(len(bound), dtype=bool)
    while not fresh[top := int(bound.argmax())]:
        bound[top] = np.maximum(similarity[top] - best, 0).sum(dtype=np.float64)
        fresh[top] = True
    return top
