"""GraphCut: one greedy selection of images that cover their class and differ from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.contract import MethodInfo, register
from methods.parts.selection import ClasswiseSelection

if TYPE_CHECKING:
    from bench.arrays import Float32Array, IntArray


@register("graphcut")
@dataclass(frozen=True)
class GraphCut(ClasswiseSelection):
    r"""Keep the greedy maximiser of the GraphCut function, class by class.

    An image :math:`x` is picked next when it has the largest gain
    :math:`\sum_{p \in S} d(p, x) - \sum_{p \in D \setminus S} d(p, x)` with the squared
    distance :math:`d` of the embeddings (DQ, Sec. 3 and appendix). The shifted cosine of
    DeepCore's ``submodular_function.py`` is the other kernel.

    Parameters
    ----------
    kernel : {"sqeuclidean", "cosine"}
        Squared distance of the raw embeddings (paper), or 1/2 + 1/2 cosine (released code).
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
    kernel: Literal["sqeuclidean", "cosine"] = "sqeuclidean"

    def pick(self, features: Float32Array, count: int) -> IntArray:
        """Return the greedy picks."""
        from methods.parts.submodular import graphcut_order

        return graphcut_order(features, None, count, kernel=self.kernel)
