"""Protocols: the fixed settings under which every compressed set is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from bench.components import Between, Component
from bench.registry import Registry


@dataclass(frozen=True)
class Protocol(Component):
    """How a network is trained on a compressed set and tested.

    The optimizer is SGD with momentum; the learning rate follows a linear warm-up and then a
    cosine to zero. The last epoch is the result.

    Parameters
    ----------
    epochs : int
        Passes over the compressed set.
    batch_size : int
        Images a step; the last batch of an epoch may be smaller, or larger by one image.
    learning_rate, momentum, weight_decay : float
        SGD's settings; weight decay acts on all parameters.
    nesterov : bool
        Nesterov's momentum instead of the classical one.
    schedule : {"epoch", "step"}
        Whether the learning rate changes after every epoch or after every step.
    warmup_epochs : float
        Length of the warm-up, in epochs; with ``schedule=step`` only.
    label_smoothing : float
        Share of the label's weight that is spread over all classes.
    augmentation : {"none", "crop", "crop+flip"}
        Random shift by up to ``crop_padding`` pixels (zeros come in), and mirroring.
    crop_padding : int
        Pixels.
    normalisation : {"dataset", "released"}
        Channel means and deviations of the data set's training split, or the constants of the
        released ``validate_cifar.py``.
    precision : {"fp32", "bf16"}
        Number format of the convolutions; weights and updates are float32 always.
    test_every : int
        Epochs between tests on the test split; the last epoch is always tested.
    """

    default_model: ClassVar[str] = "resnet8"
    about: ClassVar[str] = ""

    epochs: Annotated[int, Between(1)] = 200
    batch_size: Annotated[int, Between(1)] = 128
    learning_rate: Annotated[float, Between(0)] = 0.1
    momentum: Annotated[float, Between(0, 1)] = 0.9
    weight_decay: Annotated[float, Between(0)] = 5e-4
    nesterov: bool = False
    schedule: Literal["epoch", "step"] = "epoch"
    warmup_epochs: Annotated[float, Between(0)] = 0.0
    label_smoothing: Annotated[float, Between(0, 1)] = 0.0
    augmentation: Literal["none", "crop", "crop+flip"] = "crop+flip"
    crop_padding: Annotated[int, Between(0, 64)] = 4
    normalisation: Literal["dataset", "released"] = "dataset"
    precision: Literal["fp32", "bf16"] = "fp32"
    test_every: Annotated[int, Between(1)] = 1

    def steps(self, images: int) -> int:
        """Return the optimizer steps of a training run on this many images."""
        return self.epochs * self.steps_per_epoch(images)

    def steps_per_epoch(self, images: int) -> int:
        """Return the steps of an epoch; a last image alone joins the batch before.

        Batch normalisation cannot normalise a single value.
        """
        full, rest = divmod(images, self.batch_size)
        return max(1, full + (rest > 1))

    def is_tested(self, epoch: int) -> bool:
        """Return whether the network is tested after an epoch, counted from 1."""
        return epoch == self.epochs or epoch % self.test_every == 0


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
    schedule: Literal["epoch", "step"] = "step"
    warmup_epochs: Annotated[float, Between(0)] = 2.0
    augmentation: Literal["none", "crop", "crop+flip"] = "crop"
    crop_padding: Annotated[int, Between(0, 64)] = 1
    test_every: Annotated[int, Between(1)] = 5


@PROTOCOLS.register("cpu")
@dataclass(frozen=True)
class Cpu(Protocol):
    """CIFAR-size images on two cores: ResNet-8 of width 16, 30 epochs."""

    about: ClassVar[str] = "CIFAR-size images without a GPU; our choice"

    epochs: Annotated[int, Between(1)] = 30
    nesterov: bool = True
    schedule: Literal["epoch", "step"] = "step"
    warmup_epochs: Annotated[float, Between(0)] = 2.0
    precision: Literal["fp32", "bf16"] = "bf16"
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

    normalisation: Literal["dataset", "released"] = "released"
    test_every: Annotated[int, Between(1)] = 10
