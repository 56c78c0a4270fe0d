"""Which images each optimizer step sees, what they are to be recognised as, and their loss."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from bench.augment import DeviceImages, Epoch, moved
from bench.dsa import Draws, SiameseAugmentation
from bench.identity import derive_seed

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.jobs import Job
    from bench.team import Piece


@dataclass(frozen=True)
class Part:
    """What goes through the network at once: a step's whole batch, or a piece of it.

    Parameters
    ----------
    images : float32 [B, C, H, W]
        Augmented and normalised, on the device.
    index : int64 [B]
        Their positions in the compressed set.
    piece : Piece
        Which piece of the batch it is.
    """

    images: Tensor
    index: Tensor
    piece: Piece


@dataclass(frozen=True)
class Targets:
    """What images of a batch are to be recognised as.

    Parameters
    ----------
    labels : int64 [B] or float32 [B, classes]
        Labels, or probabilities.
    weights : float32 [B] or None
        Weights of the images in the loss.
    """

    labels: Tensor
    weights: Tensor | None

    def clone(self) -> Targets:
        """Return the same in memory of their own."""
        return Targets(self.labels.clone(), None if self.weights is None else self.weights.clone())

    def copy_(self, other: Targets) -> None:
        """Take the values of others of the same kind."""
        self.labels.copy_(other.labels)
        if self.weights is not None and other.weights is not None:
            self.weights.copy_(other.weights)


def mean_loss(logits: Tensor, targets: Targets, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of images, weighted if their targets are."""
    if not len(logits):  # a short batch may leave a process without an image
        return logits.sum()
    if targets.weights is None:
        return functional.cross_entropy(logits, targets.labels, label_smoothing=smoothing)
    losses = functional.cross_entropy(
        logits, targets.labels, label_smoothing=smoothing, reduction="none"
    )
    return (losses * targets.weights).mean()


class Batches:
    """The batches of a run by the number of their step; passes follow each other endlessly.

    What a step sees depends on its number and the training seed alone, so that a run that was
    interrupted needs no generator's state, and several processes can share a step.

    Parameters
    ----------
    labels : int64 [N]
        Of the compressed set's images.
    job : Job
        Its protocol and seed, and the soft labels and weights, if any.
    device : torch.device
        Where the batches are handed over.
    """

    def __init__(self, labels: IntArray, job: Job, device: torch.device) -> None:
        self.device = device
        self._job = job
        self._count = len(labels)
        self._load = job.load
        self._steps = job.protocol.steps_per_pass(self._load)
        is_siamese = job.protocol.augmentation == "dsa"
        self._siamese = SiameseAugmentation() if is_siamese else None
        self._labels, self._soft_labels, self._weights = (
            None if values is None else torch.from_numpy(values).to(device)
            for values in (labels, job.soft_labels, job.weights)
        )

    @abstractmethod
    def at(self, step: int) -> list[Part]:
        """Return what this process sees of a step."""

    def close(self) -> None:
        """Give back what the batches hold besides memory."""

    def targets(self, index: Tensor) -> Targets:
        """Return what images are to be recognised as, by their positions, int64 [B]."""
        labels = self._labels if self._soft_labels is None else self._soft_labels
        assert labels is not None
        return Targets(labels[index], None if self._weights is None else self._weights[index])

    def _places(self, step: int) -> tuple[int, slice]:
        """Return the pass that a step belongs to, and the places of its images in the order."""
        number, within = divmod(step, self._steps)
        places = self._job.protocol.places(self._load, within)
        return number, slice(places.start, places.stop)

    def _pieces(self, count: int) -> list[Piece]:
        """Return what this process takes of a batch."""
        return self._job.team.pieces(count, self._job.protocol.batch_shards)

    def _drawn(self, number: int, padding: int) -> Epoch:
        """Return a pass's order, crops and mirrorings, on the CPU."""
        flips = self._job.protocol.augmentation == "crop+flip"
        return Epoch.draw(
            self._count, padding, flips, derive_seed(self._job.seed, "epoch", number + 1)
        )

    def _distorted(self, images: Tensor, step: int, count: int, piece: Piece) -> Tensor:
        """Return a piece's images after what is done to a whole batch on the device.

        One operation is drawn for the batch, with parameters of its own for each image.
        """
        if self._siamese is None:
            return images
        generator = torch.Generator().manual_seed(derive_seed(self._job.seed, "dsa", step))
        draws = self._siamese.draw(count, generator, one_operation=True)
        numbers = moved(draws.numbers[piece.images], images.device)
        own = Draws(draws.operation[piece.images], numbers)
        return self._siamese.apply(images, own)


class ResidentBatches(Batches):
    """Batches of images that live on the device: one gather crops, flips and shuffles."""

    def __init__(self, images: DeviceImages, labels: IntArray, job: Job) -> None:
        super().__init__(labels, job, images.device)
        self.images = images
        self._pass = -1
        self._chosen: Epoch | None = None

    def at(self, step: int) -> list[Part]:
        """Return what this process sees of a step."""
        number, places = self._places(step)
        chosen = self._choices(number)
        index = chosen.order[places]
        top, left = chosen.top[places], chosen.left[places]
        flip = None if chosen.flip is None else chosen.flip[places]
        parts = []
        for piece in self._pieces(len(index)):
            own = piece.images
            mirrored = None if flip is None else flip[own]
            images = self.images.augmented(index[own], top[own], left[own], mirrored)
            images = self._distorted(images, step, len(index), piece)
            parts.append(Part(images, index[own], piece))
        return parts

    def _choices(self, number: int) -> Epoch:
        if self._chosen is None or number != self._pass:
            drawn = self._drawn(number, self.images.padding)
            self._pass, self._chosen = number, drawn.to(self.device)
        return self._chosen
