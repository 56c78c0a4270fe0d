"""What methods that work on embeddings have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from bench.components import Between, Component
from bench.contract import Context, ImageDataset, Keeps, Method
from bench.errors import UsageError
from bench.models import NamesModel
from methods.parts.embeddings import Extractor
from methods.parts.pools import PoolMethod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Float32Array, IntArray
    from bench.budgets import Budget
    from bench.contract import Artefact
    from methods.parts.gradients import Gradients
    from methods.parts.pools import Picker


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
    extractor_epochs: Annotated[int, Between(0, 1000)] = 10

    @property
    def quick(self) -> Mapping[str, Any]:
        """A shorter training of the extractor, for a check in seconds."""
        return {"extractor_epochs": 3} if self.network.is_seeded else {}

    def embeddings(
        self, train: ImageDataset, ctx: Context, images: Artefact | None = None
    ) -> Artefact:
        """Return the artefact with the images' ``features``, float32 [N, d].

        ``images`` is an artefact with other ``images`` of the same training split, for example
        reconstructions, that are looked at instead.
        """
        return self.network.embeddings(train, ctx, images)

    @property
    def network(self) -> Extractor:
        """The extractor with its training."""
        return Extractor(self.extractor, self.extractor_epochs)


@dataclass(frozen=True)
class EmbeddingSelection(PoolMethod, EmbeddingMethod):
    """A method that picks images of a pool by their embeddings.

    Parameters
    ----------
    balance : bool
        Pick in every class on its own, which keeps its share of the budget exactly (largest
        remainder); otherwise in the whole training split.
    extractor, extractor_epochs
        As in :class:`EmbeddingMethod`.
    """

    balance: bool = True

    @property
    def seeded(self) -> bool:
        """Whether the result depends on the selection seed: where the extractor does."""
        return self.network.is_seeded

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the embeddings."""
        return [self.embeddings(train, ctx)]


@dataclass(frozen=True)
class GreedySelection(EmbeddingSelection):
    """A method that picks one image after the other by the embeddings of their pool alone."""

    @abstractmethod
    def pick(self, features: Float32Array, count: int) -> IntArray:
        """Return ``count`` positions in one pool's features [n, d], in the order of picking."""

    def picker(self, train: ImageDataset, ctx: Context) -> Picker:
        """Return what picks of a pool, in the order of picking."""
        features = self.embeddings(train, ctx)["features"]
        return lambda pool, count: pool[self.pick(features[pool], count)]


@dataclass(frozen=True)
class TwoEditions(Component):
    """A component that follows the equations or the released code; its first parameter."""

    edition: Literal["paper", "released"] = "paper"


@dataclass(frozen=True)
class GraphCutMethod(EmbeddingMethod, TwoEditions):
    """A method that is built on GraphCut, as the papers or as the released codes have it.

    Parameters
    ----------
    edition : {"paper", "released"}
        Sets the defaults of the others.
    embedding : {"features", "gradients"}
        Penultimate features (DQ, Sec. 3), or gradients of the loss by the last layer's weights
        (DQ's ``submodular.py:44-77``).
    loss : {"cross-entropy", "double-softmax"}
        Of the gradients: the usual one, or the cross-entropy of probabilities that are taken for
        logits (DQ's ``submodular.py:65``).
    head : {"trained", "random"}
        The last layer that the gradients come from: the extractor's, or one drawn from the
        selection seed, as released for every number of classes but 1000 (``resnet.py:174-175``).
    normalisation : {"own", "data"}
        Of a pretrained extractor's inputs: its own, or that of the training split, as released.
    kernel : {"sqeuclidean", "cosine"}
        Squared distance of the embeddings (paper), or 1/2 + 1/2 cosine (released code).
    balance : bool
        Search each class on its own (the released default), or the whole set at once.
    greedy : {"exact", "released"}
        Picks as in exact arithmetic, in the order of picking; or those of the released code's
        float32 sums, with ``kernel=cosine``, sorted by position.
    rounding : {"exact", "released"}
        The budget is met exactly, by largest remainder; or every class is rounded on its own,
        halves to even, and the total is what comes out.
    """

    released: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "extractor": "timm[architecture=resnet18.tv_in1k,pretrained=true]",
            "extractor_epochs": 0,
            "embedding": "gradients",
            "loss": "double-softmax",
            "head": "random",
            "normalisation": "data",
            "kernel": "cosine",
            "greedy": "released",
            "rounding": "released",
        }
    )
    """What DQ's README and code come to: ``-se 0 --pretrained --submodular_greedy NaiveGreedy``."""

    embedding: Literal["features", "gradients"] = "features"
    loss: Literal["cross-entropy", "double-softmax"] = "cross-entropy"
    head: Literal["trained", "random"] = "trained"
    normalisation: Literal["own", "data"] = "own"
    kernel: Literal["sqeuclidean", "cosine"] = "sqeuclidean"
    balance: bool = True
    greedy: Literal["exact", "released"] = "exact"
    rounding: Literal["exact", "released"] = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.greedy == "released" and self.kernel != "cosine":
            raise UsageError(
                f"{self.name}: greedy=released knows kernel=cosine only, not {self.kernel}. "
                "Give kernel=cosine, or greedy=exact"
            )

    @property
    def keeps(self) -> Keeps:
        """What of a budget the method keeps to: its own count where classes are rounded."""
        return Keeps.IMAGES if self.rounding == "exact" else Keeps.ITS_OWN_COUNT

    @property
    def network(self) -> Extractor:
        """The extractor with its training and normalisation."""
        return Extractor(self.extractor, self.extractor_epochs, self.normalisation)

    def vector_artefacts(
        self, train: ImageDataset, ctx: Context, images: Artefact | None = None
    ) -> list[Artefact]:
        """Return what :meth:`vectors` reads: the embeddings and, for gradients, the residuals."""
        embeddings = self.embeddings(train, ctx, images)
        if self.embedding == "features":
            return [embeddings]
        residuals = self.network.residuals(train, ctx, embeddings, self.loss, self.head)
        return [embeddings, residuals]

    def vectors(self, stored: Sequence[Artefact]) -> Float32Array | Gradients:
        """Return the images' vectors: features [N, d], or gradients by their two factors."""
        features: Float32Array = stored[0]["features"]
        if self.embedding == "features":
            return features
        from methods.parts.gradients import Gradients

        return Gradients(residuals=stored[1]["residuals"], features=features)

    def pool_labels(self, train: ImageDataset) -> IntArray:
        """Return the number of the pool that each image is searched in, int64 [N]."""
        return train.labels if self.balance else np.zeros_like(train.labels)

    def asked(self, train: ImageDataset, budget: Budget, kept: int) -> dict[str, Any]:
        """Return what a record says of a method that keeps its own count."""
        if self.keeps is Keeps.IMAGES or not self.budgeted:
            return {}
        return {"asked_images": budget.images(len(train)), "kept_images": kept}
