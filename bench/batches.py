"""Which images each optimizer step sees, and their loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from bench.augment import DeviceImages, Epoch
from bench.dsa import SiameseAugmentation
from bench.identity import derive_seed

if TYPE_CHECKING:
    from bench.training import Job


class Batches:
    """The batches of a run by the number of their step; passes follow each other endlessly.

    What a step sees depends on its number and the training seed alone, so that a run that was
    interrupted needs no generator's state.

    Parameters
    ----------
    images : DeviceImages
        The compressed set on its device.
    job : Job
        Its protocol and seed, and the soft labels and weights, if any.
    """

    def __init__(self, images: DeviceImages, job: Job) -> None:
        self.images = images
        self._job = job
        self._steps = job.protocol.steps_per_pass(job.load)
        self._size = job.protocol.batch(job.load)
        is_siamese = job.protocol.augmentation == "dsa"
        self._siamese = SiameseAugmentation() if is_siamese else None
        self._pass = -1
        self._drawn: Epoch | None = None
        on_device = (
            None if values is None else torch.from_numpy(values).to(images.device)
            for values in (job.soft_labels, job.weights)
        )
        self._soft_labels, self._weights = on_device

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return a step's augmented images [B, C, H, W] and their positions, int64 [B]."""
        number, within = divmod(step, self._steps)
        chosen = self._choices(number)
        stop = (within + 1) * self._size if within + 1 < self._steps else len(self.images)
        batch = slice(within * self._size, stop)
        index = chosen.order[batch]
        flip = None if chosen.flip is None else chosen.flip[batch]
        images = self.images.augmented(index, chosen.top[batch], chosen.left[batch], flip)
        return (images if self._siamese is None else self._distorted(images, step)), index

    def loss(self, logits: Tensor, index: Tensor) -> Tensor:
        """Return the mean cross-entropy of a batch, against soft labels and weighted if given."""
        labels = self.images.labels if self._soft_labels is None else self._soft_labels
        smoothing = self._job.protocol.label_smoothing
        if self._weights is None:
            return functional.cross_entropy(logits, labels[index], label_smoothing=smoothing)
        losses = functional.cross_entropy(
            logits, labels[index], label_smoothing=smoothing, reduction="none"
        )
        return (losses * self._weights[index]).mean()

    def _distorted(self, images: Tensor, step: int) -> Tensor:
        """Return images after one operation, drawn for the batch, with parameters of their own."""
        assert self._siamese is not None
        generator = torch.Generator().manual_seed(derive_seed(self._job.seed, "dsa", step))
        draws = self._siamese.draw(len(images), generator, one_operation=True)
        return self._siamese.apply(images, draws)

    def _choices(self, number: int) -> Epoch:
        if self._drawn is None or number != self._pass:
            flips = self._job.protocol.augmentation == "crop+flip"
            seed = derive_seed(self._job.seed, "epoch", number + 1)
            drawn = Epoch.draw(len(self.images), self.images.padding, flips, seed)
            self._pass, self._drawn = number, drawn.to(self.images.device)
        return self._drawn
