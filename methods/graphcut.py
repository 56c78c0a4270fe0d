"""GraphCut: one greedy selection of images that cover their class and differ from each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.contract import CompressedSet, Context, ImageDataset, MethodInfo, register
from bench.errors import UsageError
from methods.parts.released import each_rounded, fraction_of
from methods.parts.selection import GraphCutMethod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Float32Array, IntArray
    from bench.budgets import Budget
    from bench.contract import Artefact
    from methods.parts.gradients import Gradients
    from methods.parts.submodular import Binning


@register("graphcut")
@dataclass(frozen=True)
class GraphCut(GraphCutMethod):
    r"""Keep the greedy maximiser of the GraphCut function, class by class.

    An image :math:`x` is picked next when it has the largest gain
    :math:`\sum_{p \in S} d(p, x) - \sum_{p \in D \setminus S} d(p, x)` with the squared
    distance :math:`d` of the embeddings (DQ, Sec. 3 and appendix). The shifted cosine of
    DeepCore's ``submodular_function.py`` is the other kernel.

    Parameters
    ----------
    edition : {"paper", "released"}
        The equations on features, or DQ's ``submodular.py`` with its README's settings: the
        picks of each class, sorted by position.
    embedding, loss, head, normalisation, kernel, balance, greedy, rounding
        The differences between the editions, each on its own; as in
        :class:`methods.parts.selection.GraphCutMethod`.
    extractor, extractor_epochs
        As in :class:`methods.parts.selection.EmbeddingMethod`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="GraphCut",
        paper="Iyer & Bilmes 2013; DeepCore, arXiv 2204.08499",
        year=2022,
        kind="selection",
        code="DeepCore; returns the picks sorted, their order is lost",
        released=True,
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"released": GraphCutMethod.released}

    @property
    def balanced(self) -> bool:
        """Whether every class keeps its share of the budget."""
        return self.balance and self.rounding == "exact"

    @property
    def seeded(self) -> bool:
        """Whether the result depends on the selection seed: the extractor, or a drawn head."""
        draws_head = self.embedding == "gradients" and self.head == "random"
        return self.network.is_seeded or draws_head

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the embeddings and, for gradients, the residuals."""
        return self.vector_artefacts(train, ctx)

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the picks, class by class."""
        from methods.parts.submodular import Binning

        vectors = self.vectors(self.vector_artefacts(train, ctx))
        labels = self.pool_labels(train)
        sizes = np.bincount(labels, minlength=len(train.classes) if self.balance else 1)
        kept, gap = [], np.inf
        searches: set[str] = set()
        for label, count in enumerate(self._counts(sizes, budget).tolist()):
            members = np.flatnonzero(labels == label)
            found = self.search(_rows(vectors, members), count)
            kept.append(members[found.bins[0]])
            searches.update(found.searches)
            gap = min(gap, found.smallest_gap)
            ctx.progress("selection", label + 1, len(sizes))
        picks = np.concatenate(kept)
        notes = Binning([picks], tuple(sorted(searches)), gap).notes()
        return CompressedSet(picks, notes={**notes, **self.asked(train, budget, len(picks))})

    def search(self, vectors: Float32Array | Gradients, count: int) -> Binning:
        """Return ``count`` positions in one pool's vectors, and how they were found."""
        from methods.parts.submodular import Binning, graphcut_selection

        if self.greedy == "released":
            from methods.parts.released_greedy import released_order

            if not len(vectors):
                return Binning([np.empty(0, dtype=np.int64)], (), np.inf)
            if count == 0:
                raise UsageError(
                    f"{self.name}: greedy=released does not take a class of {len(vectors)} images "
                    "that keeps none. Raise the ratio, or give greedy=exact"
                )
            return Binning([released_order(vectors, count)], ("released",), np.inf)
        return graphcut_selection(vectors, None, count, kernel=self.kernel)

    def _counts(self, sizes: IntArray, budget: Budget) -> IntArray:
        if self.rounding == "released":
            return each_rounded(sizes, fraction_of(budget))
        return budget.images_by_class(sizes)


def _rows(vectors: Float32Array | Gradients, members: IntArray) -> Float32Array | Gradients:
    return vectors[members] if isinstance(vectors, np.ndarray) else vectors.subset(members)
