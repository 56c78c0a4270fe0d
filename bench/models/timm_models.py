"""Networks of the timm library: any of them by name, and the papers' for small images.

Neither DQ nor ADQ says which variants of ViT, Swin, ConvNeXt and MobileNetV2 it trained on
CIFAR-10, at which input size and with which stem. What stands here is our choice: the smallest
common variant, from scratch, with a stem that leaves a map of the usual number of places.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from bench.models.base import MODELS, Model, Shape

if TYPE_CHECKING:
    from bench.models.networks import Network
    from bench.models.pretrained import TimmWeights

SMALL_SIDE = 64
"""Pixels; images up to this side are taken as they are, larger ones at timm's stock size."""


@MODELS.register("timm")
@dataclass(frozen=True)
class Timm(Model):
    """Any network of the timm library, with its stock settings.

    Parameters
    ----------
    architecture : str
        timm's name, e.g. ``resnet18`` or ``vit_base_patch16_224``; with pretrained weights their
        tag too, ``resnet18.tv_in1k``: which ones timm takes without it changes with timm.
    pretrained : bool
        Load pretrained weights; :class:`bench.models.pretrained.TimmWeights` tells from where.
    """

    version: ClassVar[int] = 2
    about: ClassVar[str] = "any timm network with its stock settings"

    architecture: str = "resnet18"
    pretrained: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pretrained and "." not in self.architecture:
            from bench.models.pretrained import unknown_weights

            raise unknown_weights(self.architecture)

    def weights(self) -> tuple[TimmWeights, ...]:
        """Return timm's weights where they are asked for."""
        from bench.models.pretrained import TimmWeights

        return (TimmWeights(self.architecture),) if self.pretrained else ()

    def untrained(self) -> Timm:
        """Return the same architecture with random weights."""
        return replace(self, pretrained=False)

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network; raise a UsageError where timm or its weights are out of reach."""
        from bench.models.timm_network import TimmNetwork

        return TimmNetwork(self.architecture, shape[2], classes, next(iter(self.weights()), None))


class TimmVariant(Model):
    """A timm architecture whose stem and patches suit the images' size."""

    version: ClassVar[int] = 2
    choice: ClassVar[str] = "variant, patches and stem for small images are not in the papers"
    architecture: ClassVar[str]

    def settings(self, side: int) -> dict[str, Any]:
        """Return what timm is told for square images of a side of at most 64 pixels."""
        return {}

    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network."""
        from bench.models.timm_network import TimmNetwork

        height, width, channels = shape
        if max(height, width) > SMALL_SIDE:
            return TimmNetwork(self.architecture, channels, classes)
        side = max(16, -(-max(height, width) // 16) * 16)
        network = TimmNetwork(
            self.architecture, channels, classes, input_size=(side, side), **self.settings(side)
        )
        self.adapt(network.body)
        return network

    def adapt(self, body: Any) -> None:
        """Change what timm has no setting for."""


@MODELS.register("vit")
@dataclass(frozen=True)
class Vit(TimmVariant):
    """ViT-Tiny of 8 x 8 patches: patch 4 at 32 pixels, 5.4 M parameters."""

    about: ClassVar[str] = "ViT-Tiny, 8 x 8 patches for small images (variant: our choice)"
    architecture: ClassVar[str] = "vit_tiny_patch16_224"

    def settings(self, side: int) -> dict[str, Any]:
        """Return the image's and the patches' size."""
        return {"img_size": side, "patch_size": side // 8}


@MODELS.register("swin")
@dataclass(frozen=True)
class Swin(TimmVariant):
    """Swin-Tiny of 16 x 16 patches and windows of 4: patch 2 at 32 pixels, 27.5 M parameters."""

    about: ClassVar[str] = "Swin-Tiny, 16 x 16 patches, windows of 4 (variant: our choice)"
    architecture: ClassVar[str] = "swin_tiny_patch4_window7_224"

    def settings(self, side: int) -> dict[str, Any]:
        """Return the image's, the patches' and the windows' size."""
        return {"img_size": side, "patch_size": side // 16, "window_size": 4}


@MODELS.register("convnext")
@dataclass(frozen=True)
class ConvNeXt(TimmVariant):
    """ConvNeXt-Tiny with a stem that leaves 16 x 16 places: 27.8 M parameters."""

    about: ClassVar[str] = "ConvNeXt-Tiny, stem of stride 2 at 32 pixels (variant: our choice)"
    architecture: ClassVar[str] = "convnext_tiny"

    def settings(self, side: int) -> dict[str, Any]:
        """Return the stem's stride."""
        return {"patch_size": side // 16}

    def adapt(self, body: Any) -> None:
        """Leave out the halving that timm puts after a stem of stride 2."""
        from torch import nn

        body.stages[0].downsample = nn.Identity()


@MODELS.register("mobilenetv2")
@dataclass(frozen=True)
class MobileNetV2(TimmVariant):
    """MobileNetV2 with its first two halvings left out: 4 x 4 places at 32 pixels."""

    about: ClassVar[str] = "MobileNetV2, first two halvings left out (variant: our choice)"
    architecture: ClassVar[str] = "mobilenetv2_100"

    def adapt(self, body: Any) -> None:
        """Let the stem and the first stage keep the map's size."""
        body.conv_stem.stride = (1, 1)
        body.blocks[1][0].conv_dw.stride = (1, 1)
