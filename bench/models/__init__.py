"""Models by name. Naming one is light; ``build`` imports torch and makes the network."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from bench.components import Between, Component
from bench.registry import Registry

if TYPE_CHECKING:
    from bench.models.networks import Network

Shape = tuple[int, int, int]
"""Height, width and channels of an image."""


class Model(Component):
    """An architecture by name."""

    about: ClassVar[str] = ""

    @property
    def uses_pretrained_weights(self) -> bool:
        """Whether the network comes with weights that were learned elsewhere."""
        return False

    def untrained(self) -> Model:
        """Return the same architecture with random weights."""
        return self

    @abstractmethod
    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network with fresh weights, drawn from torch's global generator."""


MODELS: Registry[Model] = Registry("model", Model)


@MODELS.register("resnet8")
@dataclass(frozen=True)
class ResNet8(Model):
    """Three residual blocks of widths w, 2w and 4w: 78,042 parameters at w = 16, 10 classes."""

    about: ClassVar[str] = "small ResNet for CPUs (He et al. 2016, Sec. 4.2 with n = 1)"

    width: Annotated[int, Between(1, 1024)] = 16

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network."""
        from bench.models.networks import ResNet

        return ResNet(shape[2], classes, widths=[self.width * k for k in (1, 2, 4)], blocks=1)


@MODELS.register("resnet18")
@dataclass(frozen=True)
class ResNet18(Model):
    """ResNet-18 with a 3x3 stem and no pooling, as DQ's ``resnet.py``: 11.17 M parameters."""

    about: ClassVar[str] = "ResNet-18 with the CIFAR stem, the papers' main network"

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network."""
        from bench.models.networks import ResNet

        return ResNet(shape[2], classes, widths=[64, 128, 256, 512], blocks=2)


@MODELS.register("convnet3")
@dataclass(frozen=True)
class ConvNet3(Model):
    """Three convolutions with instance normalisation: 320,010 parameters at 32x32x3, 10 classes.

    Its penultimate features are the last maps themselves, 16 times ``width`` at 32x32.
    """

    about: ClassVar[str] = "the ConvNet of dataset condensation (Zhao and Bilen), 8 pixels and more"

    width: Annotated[int, Between(1, 4096)] = 128

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network; raise a UsageError for images of fewer than 8 pixels a side."""
        from bench.models.convnet import ConvNet

        height, width, channels = shape
        return ConvNet(height, width, channels, classes, maps=self.width)


@MODELS.register("timm")
@dataclass(frozen=True)
class Timm(Model):
    """Any network of the timm library, with its stock settings.

    Parameters
    ----------
    architecture : str
        timm's name, e.g. ``resnet18`` or ``vit_base_patch16_224``.
    pretrained : bool
        Load timm's pretrained weights; they come over the network or from its cache.
    """

    about: ClassVar[str] = "any timm network with its stock settings"

    architecture: str = "resnet18"
    pretrained: bool = False

    @property
    def uses_pretrained_weights(self) -> bool:
        """Whether timm's weights are asked for."""
        return self.pretrained

    def untrained(self) -> Timm:
        """Return the same architecture with random weights."""
        return replace(self, pretrained=False)

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network; raise a UsageError where timm or its weights are out of reach."""
        from bench.models.timm_network import TimmNetwork

        return TimmNetwork(self.architecture, shape[2], classes, self.pretrained)


class NamesModel:
    """The rule of a text parameter that names a model, e.g. ``extractor=resnet8[width=32]``."""

    def accept(self, value: str) -> str:
        """Return the model's shortest spec; raise a UsageError when it names none."""
        return MODELS.make_one(value).spec

    def __str__(self) -> str:
        return "that names a model (bench list models)"
