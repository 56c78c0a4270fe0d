"""What methods that score images by their training dynamics have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from bench.components import Between
from bench.contract import Context, ImageDataset
from bench.errors import UsageError
from bench.models import NamesModel
from methods.parts.dynamics import Dynamics
from methods.parts.pools import PoolMethod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.arrays import FloatArray, IntArray
    from bench.contract import Artefact
    from methods.parts.pools import Picker


@dataclass(frozen=True)
class DynamicsMethod(PoolMethod):
    """A method that looks at images through a recorded training run.

    Methods with the same ``extractor`` and ``epochs`` share the record.

    Parameters
    ----------
    extractor : str
        The network that is trained and recorded, as in ``--models``.
    epochs : int
        Epochs of its training; our choice. The released codes of forgetting, CCS and D2 have 200.
    balance : bool
        Pick in every class on its own, which keeps its share of the budget exactly (largest
        remainder); otherwise in the whole training split.
    """

    extractor: Annotated[str, NamesModel()] = "resnet8"
    epochs: Annotated[int, Between(1, 1000)] = 30
    balance: bool = True

    @property
    def quick(self) -> Mapping[str, Any]:
        """A shorter training, for a check in seconds."""
        return {"epochs": 10}

    def dynamics(self, train: ImageDataset, ctx: Context, run: int = 0) -> Artefact:
        """Return the artefact of a run; see :meth:`methods.parts.dynamics.Dynamics.recorded`."""
        return Dynamics(self.extractor, self.epochs).recorded(train, ctx, run)

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the recorded run."""
        return [self.dynamics(train, ctx)]


@dataclass(frozen=True)
class RankingMethod(DynamicsMethod):
    """A method that keeps the images with the highest scores; ties go to the lowest index.

    DeepCore's ``uncertainty.py`` (7436c0a) sorts ascending with ``balance`` and descending
    without; here ``balance`` changes the pools and nothing else.
    """

    @abstractmethod
    def scores(self, train: ImageDataset, ctx: Context) -> FloatArray:
        """Return the images' scores, float64 [N]."""

    def picker(self, train: ImageDataset, ctx: Context) -> Picker:
        """Return what picks the highest scores, the highest first."""
        scores = self.scores(train, ctx)
        return lambda pool, count: highest(scores, pool, count)


@dataclass(frozen=True)
class EarlyScoreMethod(RankingMethod):
    """A method that ranks by one measure at one epoch, averaged over networks.

    Parameters
    ----------
    score_epoch : int
        The epoch after which images are scored, counted from 1.
    networks : int
        Training runs over which scores are averaged; the first is the other methods' run.
    """

    measure: ClassVar[str]
    """What of the recorded run is the score."""
    score_epoch: Annotated[int, Between(1, 1000)] = 10
    networks: Annotated[int, Between(1, 100)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score_epoch > self.epochs:
            raise UsageError(
                f"{self.name}: score_epoch={self.score_epoch} comes after the last of "
                f"epochs={self.epochs}. Lower the one or raise the other"
            )

    @property
    def quick(self) -> Mapping[str, Any]:
        """No epochs after the one that is scored."""
        return {"epochs": self.score_epoch}

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the recorded runs."""
        return [self.dynamics(train, ctx, run) for run in range(self.networks)]

    def scores(self, train: ImageDataset, ctx: Context) -> FloatArray:
        """Return the mean of the measure over the networks."""
        total = np.zeros(len(train))
        for recorded in self.artefacts(train, ctx):
            total += recorded[self.measure][self.score_epoch - 1]
        return total / self.networks


def highest(scores: FloatArray, pool: IntArray, count: int) -> IntArray:
    """Return the ``count`` positions of a pool with the highest scores, highest first."""
    return pool[np.argsort(-scores[pool], kind="stable")[:count]]


def easiest(margins: FloatArray, pool: IntArray, cutoff: float, count: int) -> IntArray:
    """Return a pool without its hardest images, those with the lowest margins.

    Parameters
    ----------
    margins : float64 [N]
        Mean margin of the images over the epochs (AUM).
    pool : int64 [n]
        Positions, ascending.
    cutoff : float
        Share of the pool to leave out, rounded down; less where fewer than ``count`` images
        would be left (our choice: released codes then keep less than the budget).
    count : int
        Images that are needed of the pool.

    Returns
    -------
    int64
        Positions, ascending.
    """
    dropped = min(int(cutoff * len(pool) + 1e-9), len(pool) - count)
    return np.sort(highest(margins, pool, len(pool) - dropped))
