"""What methods that work on embeddings have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from bench.components import Between
from bench.contract import CompressedSet, Context, ImageDataset, Method
from bench.models import NamesModel
from methods.parts.embeddings import Extractor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Float32Array, IntArray
    from bench.budgets import Budget
    from bench.contract import Artefact


@dataclass(frozen=True)
class EmbeddingMethod(Method):
    """A method that looks at images through an extractor.

    Parameters
    ----------
    extractor : str
        The network whose penultimate features are the embeddings, as in ``--models``.
    extractor_epochs : int
        Epochs that it is trained on the training split; a pretrained one is not trained.
    """

    extractor: Annotated[str, NamesModel()] = "resnet8"
    extractor_epochs: Annotated[int, Between(1, 1000)] = 10

    def embeddings(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with the images' ``features``, float32 [N, d]."""
        return self.network.embeddings(train, ctx)

    @property
    def network(self) -> Extractor:
        """The extractor with its training."""
        return Extractor(self.extractor, self.extractor_epochs)


@dataclass(frozen=True)
class ClasswiseSelection(EmbeddingMethod):
    """A method that picks images of each class on its own, by their embeddings.

    Every class keeps its share of the budget exactly (largest remainder).
    """

    @abstractmethod
    def pick(self, features: Float32Array, count: int) -> IntArray:
        """Return ``count`` positions in one class's features [n, d], in the order of picking."""

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the embeddings."""
        return [self.embeddings(train, ctx)]

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the picks, class by class."""
        features = self.embeddings(train, ctx)["features"]
        kept = []
        for label, count in enumerate(budget.images_by_class(train.class_counts)):
            members = np.flatnonzero(train.labels == label)
            kept.append(members[self.pick(features[members], int(count))])
            ctx.progress("selection", label + 1, len(train.classes))
        return CompressedSet(np.concatenate(kept))
