"""Networks for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from bench.components import Between
from bench.models.base import MODELS, Model, Shape

if TYPE_CHECKING:
    from bench.models.networks import Network


@MODELS.register("resnet8")
@dataclass(frozen=True)
class ResNet8(Model):
    """Three residual blocks of widths w, 2w and 4w: 78,042 parameters at w = 16, 10 classes."""

    about: ClassVar[str] = "small ResNet for CPUs (He et al. 2016, Sec. 4.2 with n = 1)"

    width: Annotated[int, Between(1, 1024)] = 16

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network."""
        from bench.models.networks import ResNet

        return ResNet(
            shape[2], classes, widths=[self.width * k for k in (1, 2, 4)], blocks=[1, 1, 1]
        )


@MODELS.register("resnet18")
@dataclass(frozen=True)
class ResNet18(Model):
    """ResNet-18 with a 3x3 stem and no pooling, as DQ's ``resnet.py``: 11.17 M parameters."""

    about: ClassVar[str] = "ResNet-18 with the CIFAR stem, the papers' main network"

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network."""
        from bench.models.networks import ResNet

        return ResNet(shape[2], classes, widths=[64, 128, 256, 512], blocks=[2, 2, 2, 2])


@MODELS.register("resnet50")
@dataclass(frozen=True)
class ResNet50(Model):
    """ResNet-50 with a 3x3 stem and no pooling, as DQ's ``resnet.py``: 23.52 M parameters."""

    about: ClassVar[str] = "ResNet-50 with the CIFAR stem"

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network."""
        from bench.models.networks import Bottleneck, ResNet

        widths, blocks = [64, 128, 256, 512], [3, 4, 6, 3]
        return ResNet(shape[2], classes, widths, blocks, Bottleneck)


@MODELS.register("convnet3")
@dataclass(frozen=True)
class ConvNet3(Model):
    """Three convolutions with instance normalisation: 320,010 parameters at 32x32x3, 10 classes.

    Its penultimate features are the last maps themselves, 16 times ``width`` at 32x32.
    """

    about: ClassVar[str] = "the ConvNet of dataset condensation (Zhao and Bilen), 8 pixels and more"
    gains_by_bf16_on_cpu: ClassVar[bool] = False  # its instance normalisation does not

    width: Annotated[int, Between(1, 4096)] = 128

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network; raise a UsageError for images of fewer than 8 pixels a side."""
        from bench.models.convnet import ConvNet

        height, width, channels = shape
        return ConvNet(height, width, channels, classes, maps=self.width)
