"""DQ: bins by recursive GraphCut, then the same share of each bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from bench.components import Between
from bench.contract import CompressedSet, Context, ImageDataset, MethodInfo, register
from methods.parts.allocation import bin_class_quota, bin_quota, class_histogram
from methods.parts.draws import lowest, priorities
from methods.parts.selection import EmbeddingMethod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Arrays, FloatArray, IntArray
    from bench.budgets import Budget
    from bench.contract import Artefact


@register("dq")
@dataclass(frozen=True)
class DatasetQuantization(EmbeddingMethod):
    r"""Draw the same share of every bin; bins are made one after the other by GraphCut.

    Bin n takes the images :math:`x` with the largest gain
    :math:`\sum_{p \in S_n} d(p, x) - \sum_{p \in D \setminus (S_1 \cup \dots \cup S_n)} d(p, x)`,
    greedily, until it holds :math:`|D| / M` of them; the last bin holds what is left (DQ,
    arXiv 2308.10524, Sec. 3). Within a bin the draw is uniform in each class, and bins and
    classes meet their quotas exactly.

    Parameters
    ----------
    bins : int
        M, the number of bins.
    kernel : {"sqeuclidean", "cosine"}
        Squared distance of the raw embeddings (paper), or 1/2 + 1/2 cosine (released code).
    extractor, extractor_epochs
        As in :class:`methods.parts.selection.EmbeddingMethod`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Dataset Quantization",
        paper="Zhou et al., ICCV 2023, arXiv 2308.10524",
        year=2023,
        kind="selection",
        code="keeps 6,200 and not 6,250 of 50,000 images at 12.5 %",
        released=True,
    )
    bins: Annotated[int, Between(1, 1000)] = 10
    kernel: Literal["sqeuclidean", "cosine"] = "sqeuclidean"

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the bins."""
        return [self.bins_of(train, ctx)]

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the draws, bin by bin."""
        stored = self.bins_of(train, ctx)
        bins = split_bins(stored)
        importance = self.importance(train, ctx)
        sizes = [len(one) for one in bins]
        quota = bin_quota(importance, sizes, budget.images(len(train)), self.weight)
        table = bin_class_quota(
            class_histogram(train.labels, bins, len(train.classes)),
            quota,
            budget.images_by_class(train.class_counts),
        )
        priority = priorities(train, ctx)
        kept = [
            lowest(one[train.labels[one] == label], priority, count)
            for one, counts in zip(bins, table, strict=True)
            for label, count in enumerate(counts)
        ]
        notes = {} if importance is None else {"importance": importance.tolist()}
        bin_counts = tuple(table.sum(1).tolist())
        return CompressedSet(np.concatenate(kept), bin_counts=bin_counts, notes=notes)

    def bins_of(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with the bins: ``order`` int64 [N], cut by ``sizes`` int64 [M]."""
        embeddings = self.embeddings(train, ctx)

        def make() -> Arrays:
            from methods.parts.submodular import graphcut_bins

            features = embeddings["features"]
            bins = graphcut_bins(features, train.labels, bins=self.bins, kernel=self.kernel)
            sizes = np.array([len(one) for one in bins], dtype=np.int64)
            return {"order": np.concatenate(bins), "sizes": sizes}

        params = {"bins": self.bins, "kernel": self.kernel}
        return ctx.artefact("bins", make, inputs=[embeddings], params=params, device="cpu")

    @property
    def weight(self) -> float:
        """The importance's weight in a bin's share; DQ has none."""
        return 0.0

    def importance(self, train: ImageDataset, ctx: Context) -> FloatArray | None:
        """Return the bins' importances, float64 [M]; None for shares by size."""
        return None


def split_bins(stored: Artefact) -> list[IntArray]:
    """Return the bins of an artefact that :meth:`DatasetQuantization.bins_of` gave."""
    return np.split(stored["order"], np.cumsum(stored["sizes"])[:-1])
