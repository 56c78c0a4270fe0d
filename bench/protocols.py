"""Protocols: the fixed settings under which every compressed set is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from bench.components import Between, Component
from bench.registry import Registry

LOW_SHARE = 0.1
"""The stored share up to which the released recipe takes its small batches."""
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
        Share of the training split's bytes that the set takes, in 0 ... 1.
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
    low_share_batch_size : int
        Images a step for sets of at most 10 % of the bytes; 0: as for all others.
    optimizer : {"sgd", "adamw"}
        SGD with momentum, or AdamW with its usual decay rates.
    learning_rate, momentum, weight_decay : float
        The optimizer's settings; weight decay acts on all parameters, momentum is SGD's.
    final_learning_rate : float
        Where the cosine ends.
    nesterov : bool
        Nesterov's momentum instead of the classical one.
    schedule : {"epoch", "step", "drop"}
        A cosine that changes the learning rate after every epoch or after every step; or one
        drop to a tenth halfway, with fresh momentum, as DM's ``evaluate_synset``.
    warmup_epochs : float
        Length of a linear warm-up, in epochs; with ``schedule=step`` only.
    label_smoothing : float
        Share of the label's weight that is spread over all classes.
    augmentation : {"none", "crop", "crop+flip", "dsa"}
        Random shift by up to ``crop_padding`` pixels, and mirroring; or one operation of
        differentiable Siamese augmentation for each batch, as DM trains its networks.
    crop_padding : int
        Pixels.
    crop_fill : {"zeros", "reflect"}
        What comes in at the border of a shifted image.
    normalisation : {"dataset", "released", "deepcore"}
        Channel means and deviations of the data set's training split, or the constants of the
        released ``validate_cifar.py``, or of DeepCore's ``CIFAR10.py``.
    precision : {"auto", "fp32", "bf16"}
        Number format of the products; weights and updates are float32 always. ``auto`` takes bf16
        where the device has units for it and the network gains by them (:mod:`bench.precision`);
        the record names what was taken, and why.
    test_every : int
        Epochs between tests on the test split; the last epoch is always tested.
    """

    default_model: ClassVar[str] = "resnet8"
    about: ClassVar[str] = ""

    epochs: Annotated[int, Between(1)] = 200
    match: Literal["epochs", "steps"] = "epochs"
    batch_size: Annotated[int, Between(1)] = 128
    low_share_batch_size: Annotated[int, Between(0)] = 0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Between(0)] = 0.1
    final_learning_rate: Annotated[float, Between(0)] = 0.0
    momentum: Annotated[float, Between(0, 1)] = 0.9
    weight_decay: Annotated[float, Between(0)] = 5e-4
    nesterov: bool = False
    schedule: Literal["epoch", "step", "drop"] = "epoch"
    warmup_epochs: Annotated[float, Between(0)] = 0.0
    label_smoothing: Annotated[float, Between(0, 1)] = 0.0
    augmentation: Literal["none", "crop", "crop+flip", "dsa"] = "crop+flip"
    crop_padding: Annotated[int, Between(0, 64)] = 4
    crop_fill: Literal["zeros", "reflect"] = "zeros"
    normalisation: Literal["dataset", "released", "deepcore"] = "dataset"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    test_every: Annotated[int, Between(1)] = 1

    @property
    def padding(self) -> int:
        """Pixels around an image that crops may reach into."""
        return self.crop_padding if self.augmentation.startswith("crop") else 0

    def batch(self, load: Load) -> int:
        """Return the images of a step."""
        if self.low_share_batch_size and load.share <= LOW_SHARE + _ALMOST:
            return self.low_share_batch_size
        return self.batch_size

    def steps_per_pass(self, load: Load) -> int:
        """Return the steps of one pass over the compressed set."""
        return _steps(load.images, self.batch(load))

    def steps_per_epoch(self, load: Load) -> int:
        """Return the steps between two points where the network may be tested."""
        if self.match == "epochs":
            return self.steps_per_pass(load)
        return _steps(load.full_images, self.batch_size)

    def steps(self, load: Load) -> int:
        """Return the optimizer steps of a training run."""
        return self.epochs * self.steps_per_epoch(load)

    def images_seen(self, load: Load) -> int:
        """Return the images that a run goes through, repetitions counted."""
        passes, rest = divmod(self.steps(load), self.steps_per_pass(load))
        return passes * load.images + rest * self.batch(load)

    def is_tested(self, epoch: int) -> bool:
        """Return whether the network is tested after an epoch, counted from 1."""
        return epoch == self.epochs or epoch % self.test_every == 0

    @property
    def drop_epoch(self) -> int:
        """The last epoch before ``schedule=drop`` lowers the learning rate.

        DM's loop of 1001 passes lowers it after the pass that it counts as 501, its 502nd.
        """
        return min(self.epochs, (self.epochs - 1) // 2 + 2)


def _steps(images: int, batch: int) -> int:
    """Return the steps of a pass; a last image alone joins the batch before.

    Batch normalisation cannot normalise a single value.
    """
    full, rest = divmod(images, batch)
    return max(1, full + (rest > 1))


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
    augmentation: Literal["none", "crop", "crop+flip", "dsa"] = "crop"
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

    normalisation: Literal["dataset", "released", "deepcore"] = "released"
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
    normalisation: Literal["dataset", "released", "deepcore"] = "deepcore"
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
    augmentation: Literal["none", "crop", "crop+flip", "dsa"] = "dsa"
    normalisation: Literal["dataset", "released", "deepcore"] = "released"
    test_every: Annotated[int, Between(1)] = 200
