"""GraphCut: one greedy selection of images that cover their class and differ from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from bench.components import Between
from bench.contract import CompressedSet, Context, ImageDataset, Method, MethodInfo, register
from bench.models import NamesModel
from methods.parts.embeddings import Extractor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.budgets import Budget
    from bench.contract import Artefact


@register("graphcut")
@dataclass(frozen=True)
class GraphCut(Method):
    r"""Keep the greedy maximiser of the GraphCut function, class by class.

    An image :math:`x` is picked next when it has the largest gain
    :math:`\sum_{p \in S} d(p, x) - \sum_{p \in D \setminus S} d(p, x)` with the squared
    distance :math:`d` of the embeddings (DQ, Sec. 3 and appendix). The shifted cosine of
    DeepCore's ``submodular_function.py`` is the other kernel.

    Parameters
    ----------
    kernel : {"sqeuclidean", "cosine"}
        Squared distance of the raw embeddings (paper), or 1/2 + 1/2 cosine (released code).
    extractor : str
        The network whose penultimate features are the embeddings, as in ``--models``.
    extractor_epochs : int
        Epochs that it is trained on the training split; a pretrained one is not trained.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="GraphCut",
        paper="Iyer & Bilmes 2013; DeepCore, arXiv 2204.08499",
        year=2022,
        kind="selection",
        code="released (DeepCore); returns the picks sorted, their order is lost",
    )
    kernel: Literal["sqeuclidean", "cosine"] = "sqeuclidean"
    extractor: Annotated[str, NamesModel()] = "resnet8"
    extractor_epochs: Annotated[int, Between(1, 1000)] = 10

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the embeddings."""
        return [Extractor(self.extractor, self.extractor_epochs).embeddings(train, ctx)]

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the picks of every class, in the order of picking."""
        from methods.parts.submodular import graphcut_order

        (embeddings,) = self.artefacts(train, ctx)
        counts = budget.images_by_class(train.class_counts)
        picks = graphcut_order(embeddings["features"], train.labels, counts, kernel=self.kernel)
        return CompressedSet(picks)
