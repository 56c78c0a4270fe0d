"""Protocols: the fixed settings under which every compressed set is judged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from bench.components import Between, Component
from bench.errors import UsageError
from bench.registry import Registry

LOW_SHARE = 0.1
"""The share up to which the released recipe takes its small batches."""
_ALMOST = 1e-9
Augmentation = Literal["none", "crop", "crop+flip", "dsa", "resized-crop+flip"]
NormalisedBy = Literal["dataset", "released", "deepcore", "imagenet"]
NO_POLICY = "none"


class RandAugmentPolicy:
    """The rule of a text parameter that is a policy of RandAugment in timm's words."""

    def accept(self, value: str) -> str:
        """Return the policy; raise ValueError for none."""
        if value != NO_POLICY and not re.fullmatch("rand(-(m|mstd|mmax|n|inc|p)[0-9.]+)+", value):
            raise ValueError(value)
        return value

    def __str__(self) -> str:
        return "such as rand-m9-mstd0.5-inc1, or none"


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
        Images a step; the last batch of a pass may be smaller, or larger by one image.
    last_batch : {"keep", "drop"}
        What becomes of a last batch that is not full; a set smaller than a batch is one.
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
    normalisation : {"dataset", "released", "deepcore", "imagenet"}
        Channel means and deviations of the data set's training split, or the constants of the
        released ``validate_cifar.py``, or of DeepCore's ``CIFAR10.py``, or ImageNet's.
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

    epochs: Annotated[int, Between(1)] = 200
    match: Literal["epochs", "steps"] = "epochs"
    batch_size: Annotated[int, Between(1)] = 128
    low_share_batch_size: Annotated[int, Between(0)] = 0
    last_batch: Literal["keep", "drop"] = "keep"
    batch_shards: Annotated[int, Between(1, 1024)] = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Between(0)] = 0.1
    final_learning_rate: Annotated[float, Between(0)] = 0.0
    momentum: Annotated[float, Between(0, 1)] = 0.9
    weight_decay: Annotated[float, Between(0)] = 5e-4
    decays: Literal["all", "matrices"] = "all"
    nesterov: bool = False
    schedule: Literal["epoch", "step", "drop"] = "epoch"
    warmup_epochs: Annotated[float, Between(0)] = 0.0
    warmup_learning_rate: Annotated[float, Between(0)] = 0.0
    label_smoothing: Annotated[float, Between(0, 1)] = 0.0
    augmentation: Augmentation = "crop+flip"
    crop_padding: Annotated[int, Between(0, 64)] = 4
    crop_fill: Literal["zeros", "reflect"] = "zeros"
    rand_augment: Annotated[str, RandAugmentPolicy()] = NO_POLICY
    augmentation_splits: Annotated[int, Between(1, 16)] = 1
    jsd_weight: Annotated[float, Between(0)] = 0.0
    split_norm: bool = False
    erasing: Annotated[float, Between(0, 1)] = 0.0
    test_crop: Annotated[float, Between(0.1, 1)] = 1.0
    normalisation: NormalisedBy = "dataset"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    test_every: Annotated[int, Between(1)] = 1

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
        return None if self.rand_augment == NO_POLICY else self.rand_augment

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

    def images_seen(self, load: Load) -> int:
        """Return the images that a run goes through, repetitions counted."""
        passes, rest = divmod(self.steps(load), self.steps_per_pass(load))
        a_pass = load.images
        if self.last_batch == "drop":
            a_pass = min(a_pass, self.steps_per_pass(load) * self.batch(load))
        return passes * a_pass + rest * self.batch(load)

    def _steps(self, images: int, batch: int) -> int:
        """Return the steps of a pass; a last image alone joins the batch before.

        Batch normalisation cannot normalise a single value.
        """
        full, rest = divmod(images, batch)
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


@PROTOCOLS.register("smoke")
@dataclass(frozen=True)
class Smoke(Protocol):
    """Seconds a run, for very small images: shows that everything works, with true numbers."""

    about: ClassVar[str] = "seconds a run, for images of 8 to 16 pixels; our choice"

    epochs: Annotated[int, Between(1)] = 30
    batch_size: Annotated[int, Between(1)] = 32
    learning_rate: Annotated[float, Between(0)] = 0.05
    nesterov: bool = True
    schedule: Literal["epoch", "step", "drop"] = "step"
    warmup_epochs: Annotated[float, Between(0)] = 2.0
    augmentation: Augmentation = "crop"
    crop_padding: Annotated[int, Between(0, 64)] = 1
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    test_every: Annotated[int, Between(1)] = 5


@PROTOCOLS.register("cpu")
@dataclass(frozen=True)
class Cpu(Protocol):
    """CIFAR-size images on two cores: ResNet-8 of width 16, 30 epochs."""

    about: ClassVar[str] = "CIFAR-size images without a GPU; our choice"

    epochs: Annotated[int, Between(1)] = 30
    nesterov: bool = True
    schedule: Literal["epoch", "step", "drop"] = "step"
    warmup_epochs: Annotated[float, Between(0)] = 2.0
    test_every: Annotated[int, Between(1)] = 10


@PROTOCOLS.register("paper")
@dataclass(frozen=True)
class Paper(Protocol):
    """DQ's and ADQ's text: ResNet-18, 200 epochs, SGD 0.1, cosine, batch 128, crop and flip.

    The released ``validate_cifar.py`` gives what the text leaves open (zero padding of 4, weight
    decay 5e-4, no Nesterov, one cosine step an epoch, its normalisation constants). It reports
    the best epoch on the test set; here the last one counts.
    """

    default_model: ClassVar[str] = "resnet18"
    about: ClassVar[str] = "DQ and ADQ as their text says, with the last epoch as the result"

    normalisation: NormalisedBy = "released"
    test_every: Annotated[int, Between(1)] = 10


@PROTOCOLS.register("matched-steps")
@dataclass(frozen=True)
class MatchedSteps(Paper):
    """The papers' recipe with as many optimizer steps for every set as the full one gets.

    A tenth of the images in 200 epochs is a tenth of the steps: fewer images and less training
    are then one and the same. Here they are apart; this is the comparison that decides.
    """

    about: ClassVar[str] = "paper's recipe, the same number of steps for every set; our choice"

    match: Literal["epochs", "steps"] = "steps"


@PROTOCOLS.register("released")
@dataclass(frozen=True)
class Released(Paper):
    """The script and README of DQ and ADQ: batch 16 for 10 % or less, tested after every epoch.

    ``validate_cifar.py`` reports the best of its 200 tests; it stands beside the last epoch here.
    """

    about: ClassVar[str] = "DQ's and ADQ's script: batch 16 at 10 % or less, tested every epoch"

    version: ClassVar[int] = 2  # 1 took the large batch where a tenth of the images was rounded up

    low_share_batch_size: Annotated[int, Between(0)] = 16
    test_every: Annotated[int, Between(1)] = 1


@PROTOCOLS.register("deepcore")
@dataclass(frozen=True)
class DeepCore(Protocol):
    """DeepCore's ``main.py`` with the batch of its README: reflecting crops, cosine by step.

    Its loop reports the best epoch on the test set; here the last one counts.
    """

    default_model: ClassVar[str] = "resnet18"
    about: ClassVar[str] = "DeepCore's recipe (arXiv 2204.08499), with the last epoch as the result"

    final_learning_rate: Annotated[float, Between(0)] = 1e-4
    nesterov: bool = True
    schedule: Literal["epoch", "step", "drop"] = "step"
    crop_fill: Literal["zeros", "reflect"] = "reflect"
    normalisation: NormalisedBy = "deepcore"
    test_every: Annotated[int, Between(1)] = 10


@PROTOCOLS.register("transformer")
@dataclass(frozen=True)
class Transformer(Paper):
    """A usual recipe for ViT, Swin and ConvNeXt from scratch: AdamW, 10 epochs of warm-up.

    DQ and ADQ do not say how they trained these.
    """

    default_model: ClassVar[str] = "vit"
    about: ClassVar[str] = "AdamW, warm-up, 200 epochs; for ViT, Swin, ConvNeXt; our choice"

    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: Annotated[float, Between(0)] = 1e-3
    weight_decay: Annotated[float, Between(0)] = 0.05
    schedule: Literal["epoch", "step", "drop"] = "step"
    warmup_epochs: Annotated[float, Between(0)] = 10.0


@PROTOCOLS.register("dm")
@dataclass(frozen=True)
class Condensation(Protocol):
    """DM's ``evaluate_synset``: ConvNet, 1,001 passes, batch 256, DSA, one drop to a tenth."""

    default_model: ClassVar[str] = "convnet3"
    about: ClassVar[str] = "DM's own evaluation: ConvNet, 1,001 epochs, DSA, the last epoch counts"

    epochs: Annotated[int, Between(1)] = 1001
    batch_size: Annotated[int, Between(1)] = 256
    learning_rate: Annotated[float, Between(0)] = 0.01
    schedule: Literal["epoch", "step", "drop"] = "drop"
    augmentation: Augmentation = "dsa"
    normalisation: NormalisedBy = "released"
    test_every: Annotated[int, Between(1)] = 200


@PROTOCOLS.register("imagenet")
@dataclass(frozen=True)
class ImageNetRecipe(Protocol):
    """The command for ImageNet-1K in DQ's and ADQ's README: timm 0.6.5's ``train.py``.

    ``--model resnet50 --sched cosine --epochs 260 --lr 0.6 --reprob 0.6 --remode pixel
    --batch-size 128 --amp --aug-splits 3 -aa rand-m9-mstd0.5-inc1 --resplit --split-bn --jsd
    --dist-bn reduce`` on 8 GPUs. What the command leaves to the script's defaults is taken from
    ``pytorch_image_models/train.py`` (DQ at 24a2a77): SGD with Nesterov's momentum 0.9, weight
    decay 2e-5 on neither biases nor normalisations, a warm-up of 3 epochs from 1e-4, label
    smoothing 0.1, JSD weight 12, a last batch that is not full left out.

    RandAugment, random crops, random erasing, the JSD loss and the batch normalisation of each
    split are timm's own public functions. 8 GPUs of 128 images are one batch of 1,024 in 8
    shards, so that 1, 2, 4 or 8 GPUs, or a processor, give the same training.
    """

    default_model: ClassVar[str] = "timm[architecture=resnet50]"
    about: ClassVar[str] = (
        "DQ's and ADQ's README for ImageNet-1K: timm, 260 epochs, RandAugment, JSD"
    )
    choice: ClassVar[str] = (
        "of timm's script: bf16 instead of fp16 with a scaled loss; no 10 further epochs at "
        "the last rate of 1e-6; running statistics are the mean of all 8 shards, where "
        "DistributedDataParallel copies the first GPU's at every step; tests at 224 of 256 pixels "
        "(bilinear) instead of timm's 0.95 (bicubic), after every 10th epoch; the last epoch "
        "counts; every image has chance of its own, drawn from the seed; images are joined by "
        "file name"
    )

    epochs: Annotated[int, Between(1)] = 260
    batch_size: Annotated[int, Between(1)] = 1024
    last_batch: Literal["keep", "drop"] = "drop"
    batch_shards: Annotated[int, Between(1, 1024)] = 8
    learning_rate: Annotated[float, Between(0)] = 0.6
    final_learning_rate: Annotated[float, Between(0)] = 1e-6
    weight_decay: Annotated[float, Between(0)] = 2e-5
    decays: Literal["all", "matrices"] = "matrices"
    nesterov: bool = True
    warmup_epochs: Annotated[float, Between(0)] = 3.0
    warmup_learning_rate: Annotated[float, Between(0)] = 1e-4
    label_smoothing: Annotated[float, Between(0, 1)] = 0.1
    augmentation: Augmentation = "resized-crop+flip"
    rand_augment: Annotated[str, RandAugmentPolicy()] = "rand-m9-mstd0.5-inc1"
    augmentation_splits: Annotated[int, Between(1, 16)] = 3
    jsd_weight: Annotated[float, Between(0)] = 12.0
    split_norm: bool = True
    erasing: Annotated[float, Between(0, 1)] = 0.6
    test_crop: Annotated[float, Between(0.1, 1)] = 0.875
    normalisation: NormalisedBy = "imagenet"
    precision: Literal["auto", "fp32", "bf16"] = "bf16"
    test_every: Annotated[int, Between(1)] = 10
