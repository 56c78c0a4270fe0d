"""What every protocol offers, and what training under it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.components import Component
from bench.errors import UsageError
from bench.protocols import types
from bench.registry import Registry

LOW_SHARE = 0.1
"""The share up to which the released recipe takes its small batches."""
_ALMOST = 1e-9


@dataclass(frozen=True)
class Load:
    """What a training run has to get through.

    Parameters
    ----------
    images : int
        Images of the compressed set.
    full_images : int
        Images of the training split that it was made from.
    share : float
        The budget of images, or the share of the training split's bytes that a budget of bytes
        came to, in 0 ... 1.
    """

    images: int
    full_images: int
    share: float = 1.0

    @classmethod
    def of_all(cls, images: int) -> Load:
        """Return the load of a set of which nothing was left out."""
        return cls(images, images)


@dataclass(frozen=True)
class Protocol(Component):
    """How a network is trained on a compressed set and tested.

    Training is divided into epochs, after which the network
    may be tested; the last epoch is the result.

    Parameters
    ----------
    epochs : int
        Passes over the compressed set, or over the full training split (see ``match``).
    match : {"epochs", "steps"}
        What all compressed sets have in common. With ``steps`` every set gets as many steps as
        the full training split: an epoch is as many steps as a pass over the full split has, and
        smaller sets are passed over more often within it.
    batch_size : int
        Images a step, at most; a last batch may be larger by one image.
    last_batch : {"keep", "drop", "even"}
        What becomes of a last batch that is not full: it is smaller than the others, or left
        out, or all batches of a pass are made of nearly equal size, as many as with ``keep`` and
        no two of them apart by more than one image. A set smaller than a batch is one.
    batch_shards : int
        Parts that a batch is divided into, each normalised on its own as if it had a device of
        its own, whatever number of devices there is; 1 for none. Running statistics are averaged
        over the shards after every epoch.
    low_share_batch_size : int
        Images a step for budgets of at most 10 %; 0: as for all others.
    optimizer : {"sgd", "adamw"}
        SGD with momentum, or AdamW with its usual decay rates.
    learning_rate, momentum, weight_decay : float
        The optimizer's settings; momentum is SGD's.
    decays : {"all", "matrices"}
        What weight decay acts on: all parameters, or none of the biases and normalisations.
    final_learning_rate : float
        Where the cosine ends.
    nesterov : bool
        Nesterov's momentum instead of the classical one.
    schedule : {"epoch", "step", "drop"}
        A cosine that changes the learning rate after every epoch or after every step; or one
        drop to a tenth halfway, with fresh momentum, as DM's ``evaluate_synset``.
    warmup_epochs : float
        Length of a linear warm-up, in epochs, with ``schedule=step``; with ``schedule=epoch``
        where it has a rate to begin with.
    warmup_learning_rate : float
        Where a warm-up epoch by epoch begins, with ``schedule=epoch``; 0 for no such warm-up.
    label_smoothing : float
        Share of the label's weight that is spread over all classes.
    augmentation : {"none", "crop", "crop+flip", "dsa", "resized-crop+flip"}
        Random shift by up to ``crop_padding`` pixels, and mirroring; or one operation of
        differentiable Siamese augmentation for each batch, as DM trains its networks; or a
        random part of the image as it is stored, brought to its size, and mirroring.
    rand_augment : str
        A policy of RandAugment in timm's words, e.g. ``rand-m9-mstd0.5-inc1``, or ``none``.
    augmentation_splits : int
        Looks at every image of a batch; the first of several is without policy and erasing.
    jsd_weight : float
        Weight of the Jensen-Shannon divergence between the predictions for looks, where there are
        several.
    split_norm : bool
        A batch normalisation of its own for every look, where there are several; the first one's
        is tested with.
    erasing : float
        Chance that a rectangle of a look is replaced by noise, pixel by pixel.
    test_crop : float
        Share of the shorter side that a test image is cut to: 0.875 is 224 of 256 pixels.
    crop_padding : int
        Pixels.
    crop_fill : {"zeros", "reflect"}
        What comes in at the border of a shifted image.
    normalisation : {"dataset", "released", "condensation", "deepcore", "imagenet"}
        Channel means and deviations of the data set's training split; or the constants that the
        released ``validate_cifar.py``, DM's ``utils.py`` or DeepCore has for the data set, and
        the training split's where it has none (:func:`bench.normalising.normalisation_for`); or
        ImageNet's.
    precision : {"auto", "fp32", "bf16"}
        Number format of the products; weights and updates are float32 always. ``auto`` takes bf16
        where the device has units for it and the network gains by them (:mod:`bench.precision`);
        the record names what was taken, and why.
    test_every : int
        Epochs between tests on the test split; the last epoch is always tested.
    """

    default_model: ClassVar[str] = "resnet8"
    about: ClassVar[str] = ""
    choice: ClassVar[str] = ""
    """What of it differs from its source, or is not said there; stands in every record."""

    epochs: types.Count = 200
    match: types.Match = "epochs"
    batch_size: types.Count = 128
    low_share_batch_size: types.CountOrNone = 0
    last_batch: types.LastBatch = "keep"
    batch_shards: types.Shards = 1
    optimizer: types.Optimizer = "sgd"
    learning_rate: types.Amount = 0.1
    final_learning_rate: types.Amount = 0.0
    momentum: types.Fraction = 0.9
    weight_decay: types.Amount = 5e-4
    decays: types.Decays = "all"
    nesterov: bool = False
    schedule: types.Schedule = "epoch"
    warmup_epochs: types.Amount = 0.0
    warmup_learning_rate: types.Amount = 0.0
    label_smoothing: types.Fraction = 0.0
    augmentation: types.Augmentation = "crop+flip"
    crop_padding: types.Padding = 4
    crop_fill: types.Fill = "zeros"
    rand_augment: types.Policy = types.NO_POLICY
    augmentation_splits: types.Looks = 1
    jsd_weight: types.Amount = 0.0
    split_norm: bool = False
    erasing: types.Fraction = 0.0
    test_crop: types.CropShare = 1.0
    normalisation: types.NormalisedBy = "dataset"
    precision: types.PrecisionAsked = "auto"
    test_every: types.Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        epochs, rate = self.warmup_epochs, self.warmup_learning_rate
        name = self.name or type(self).__name__
        if epochs and self.schedule == "drop":
            raise UsageError(
                f"{name}: warmup_epochs={epochs:g} does nothing with schedule=drop. Give "
                "warmup_epochs=0, or schedule=step"
            )
        if epochs and self.schedule == "epoch" and not rate:
            raise UsageError(
                f"{name}: warmup_epochs={epochs:g} does nothing with schedule=epoch without a rate "
                "to begin with. Give warmup_learning_rate too, or warmup_epochs=0, or schedule=step"
            )
        if rate and self.schedule != "epoch":
            raise UsageError(
                f"{name}: warmup_learning_rate={rate:g} does nothing with "
                f"schedule={self.schedule}. Give warmup_learning_rate=0, or schedule=epoch"
            )

    @property
    def cuts_from_whole(self) -> bool:
        """Whether crops are cut from images as they are stored, whatever their size."""
        return self.augmentation == "resized-crop+flip"

    @property
    def draws_image_by_image(self) -> bool:
        """Whether chance changes every image on its own, before it is in a batch."""
        is_changed = self.policy is not None or self.erasing > 0
        return self.cuts_from_whole or is_changed or self.augmentation_splits > 1

    @property
    def policy(self) -> str | None:
        """The policy of RandAugment, if there is one."""
        return None if self.rand_augment == types.NO_POLICY else self.rand_augment

    @property
    def padding(self) -> int:
        """Pixels around an image that crops may reach into."""
        return self.crop_padding if self.augmentation in ("crop", "crop+flip") else 0

    def batch(self, load: Load) -> int:
        """Return the images of a step."""
        if self.low_share_batch_size and load.share <= LOW_SHARE + _ALMOST:
            return self.low_share_batch_size
        return self.batch_size

    def steps_per_pass(self, load: Load) -> int:
        """Return the steps of one pass over the compressed set."""
        return self._steps(load.images, self.batch(load))

    def steps_per_epoch(self, load: Load) -> int:
        """Return the steps between two points where the network may be tested."""
        if self.match == "epochs":
            return self.steps_per_pass(load)
        return self._steps(load.full_images, self.batch_size)

    def steps(self, load: Load) -> int:
        """Return the optimizer steps of a training run."""
        return self.epochs * self.steps_per_epoch(load)

    def places(self, load: Load, step: int) -> range:
        """Return which places in the order of a pass a step of it takes, counted from 0."""
        images, steps, batch = load.images, self.steps_per_pass(load), self.batch(load)
        if self.last_batch == "even":
            return range(images * step // steps, images * (step + 1) // steps)
        keeps_rest = self.last_batch == "keep" and step + 1 == steps
        return range(batch * step, images if keeps_rest else min(images, batch * (step + 1)))

    def largest_batch(self, load: Load) -> int:
        """Return the images of the largest batch of a pass."""
        return max(len(self.places(load, k)) for k in (0, self.steps_per_pass(load) - 1))

    def images_seen(self, load: Load) -> int:
        """Return the images that a run goes through, repetitions counted."""
        steps = self.steps_per_pass(load)
        passes, rest = divmod(self.steps(load), steps)
        within = self.places(load, rest - 1).stop if rest else 0
        return passes * self.places(load, steps - 1).stop + within

    def _steps(self, images: int, batch: int) -> int:
        """Return the steps of a pass; a last image alone joins the batch before.

        Batch normalisation cannot normalise a single value.
        """
        full, rest = divmod(images, batch)
        if self.last_batch == "even":
            full += rest > 0
            return max(1, min(full, images // 2) if batch > 1 else full)
        return max(1, full + (rest > 1 and self.last_batch == "keep"))

    def is_tested(self, epoch: int) -> bool:
        """Return whether the network is tested after an epoch, counted from 1."""
        return epoch == self.epochs or epoch % self.test_every == 0

    @property
    def drop_epoch(self) -> int:
        """The last epoch before ``schedule=drop`` lowers the learning rate.

        DM's loop of 1001 passes lowers it after the pass that it counts as 501, its 502nd.
        """
        return min(self.epochs, (self.epochs - 1) // 2 + 2)


PROTOCOLS: Registry[Protocol] = Registry("protocol", Protocol)
