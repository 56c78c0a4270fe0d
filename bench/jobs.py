"""What one training run is about, and how it went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.feeding import BY_RULE, Feed
from bench.precision import Precision, choose
from bench.protocols import Load
from bench.team import ALONE, Team

if TYPE_CHECKING:
    from bench.arrays import Float32Array
    from bench.augment import Normalisation
    from bench.contract import ImageDataset
    from bench.models import Model
    from bench.protocols import Protocol


@dataclass
class Curve:
    """How a training run went, epoch by epoch."""

    train_loss: list[float] = field(default_factory=list)
    """Mean loss of each epoch."""
    tests: dict[int, list[int]] = field(default_factory=dict)
    """Test images of each class that were classified rightly, by tested epoch."""
    training_s: float = 0.0
    testing_s: float = 0.0
    before_s: float = 0.0
    """Seconds of the two that an interrupted run spent, which this one went on from."""
    elsewhere_s: float = 0.0
    """Seconds of those that other Slurm jobs spent."""
    energy_j: float | None = None
    """Joules of the whole GPU meanwhile; None where nobody counts them."""
    precision: str = "fp32"
    precision_reason: str = ""
    by_place: int = 0
    """Convolutions that went over their maps place by place (:mod:`bench.models.convolutions`)."""
    is_streamed: bool = False
    """Whether images were decoded and augmented by workers, not on the device."""
    feeding_reason: str = ""
    is_captured: bool = False
    """Whether steps were replayed from a captured CUDA graph."""
    capture_failure: str = ""
    """Why a step could not be captured and was made operation by operation; empty for none."""
    process_peak_bytes: int = 0
    """The most memory that one of several processes held; 0 where there was one."""
    device_peak_bytes: int = 0
    """The most that one of them held of its GPU."""
    unsaved: str = ""
    """Why a checkpoint could not be written, if one could not."""

    def to_json(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        tests = {str(epoch): values for epoch, values in self.tests.items()}
        return {**vars(self), "tests": tests}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Curve:
        """Return the curve that :meth:`to_json` told."""
        tests = {int(epoch): values for epoch, values in content["tests"].items()}
        return cls(**{**content, "tests": tests})


@dataclass(frozen=True)
class Job:
    """What one training run is about.

    Parameters
    ----------
    train, test : ImageDataset
        ``test`` is None where no test is wanted, as for an extractor.
    normalisation : Normalisation
        Used for both.
    seed : int
        The training seed; each role and epoch has its own stream.
    full_images : int or None
        Images of the training split that ``train`` was made from; None where it is that split.
    share : float
        Share of that split that ``train`` was to be (see :class:`bench.protocols.Load`).
    soft_labels : float32 [N, classes] or None
        Probabilities to learn instead of the labels.
    weights : float32 [N] or None
        Weights of the images in the loss; their mean is 1.
    team : Team
        Which of the processes that train this network together this one is.
    feed : Feed
        How its images are to reach it; changes no result.
    """

    model: Model
    protocol: Protocol
    train: ImageDataset
    test: ImageDataset | None
    normalisation: Normalisation
    seed: int
    device: str
    full_images: int | None = None
    share: float = 1.0
    soft_labels: Float32Array | None = None
    weights: Float32Array | None = None
    team: Team = ALONE
    feed: Feed = BY_RULE

    @property
    def load(self) -> Load:
        """What the run has to get through."""
        return Load(len(self.train), self.full_images or len(self.train), self.share)

    @property
    def precision(self) -> Precision:
        """The number format of the products, and why."""
        return choose(self.protocol, self.model, self.device)
