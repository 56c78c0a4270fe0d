"""A timm network with the interface of the project's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.augment import Normalisation
from bench.errors import UsageError, unknown
from bench.models.networks import Features, Network
from bench.weights import sha256_of

if TYPE_CHECKING:
    from bench.models.pretrained import TimmWeights

_MOST_STAGES = 6
"""Levels of a network that is made of stages; more are the equal blocks of a transformer."""


class TimmNetwork(Network):
    """A network of the timm library.

    Parameters
    ----------
    architecture : str
        timm's name of it.
    channels, classes : int
        Of the images and of the outputs.
    weights : TimmWeights or None
        What it is initialised with; None for random weights.
    input_size : (int, int) or None
        The size that images are resized to; None for the size that the network is made for.
    settings : mapping
        What is handed on to timm, e.g. ``patch_size``.

    Raises
    ------
    UsageError
        When timm does not know the architecture, or cannot make it with these settings, when the
        weights are out of reach, or when the network ends in more than one classifier.
    """

    def __init__(
        self,
        architecture: str,
        channels: int,
        classes: int,
        weights: TimmWeights | None = None,
        input_size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self._architecture = architecture
        if not timm.is_model(architecture):
            raise unknown("timm architecture", architecture, timm.list_models(pretrained=False))
        source = ""
        if weights is not None:
            path = weights.obtain()
            source = f" with {path}"
            self.pretrained = {"name": weights.name, "sha256": sha256_of(path)}
            settings |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
        # with their own classes first: for others, timm accepts a file that lacks any of the layers
        configuration: Any = timm.get_pretrained_cfg(architecture) if weights else None
        first = configuration.num_classes if configuration else classes
        try:
            body: Any = timm.create_model(
                architecture, in_chans=channels, num_classes=first, **settings
            )
            if first != classes:
                body.reset_classifier(classes)
        except Exception as error:  # timm raises what the network's parts raise
            raise UsageError(
                f"timm cannot make '{architecture}'{source}: {_first_line(error)}. "
                "Name another architecture" + ", or put the right file there" * bool(source)
            ) from error
        if not isinstance(body.get_classifier(), nn.Module):
            raise UsageError(
                f"timm's '{architecture}' ends in two classifiers, one of them for distillation. "
                "Name an architecture with one, e.g. deit_tiny_patch16_224"
            )
        self.body: Any = body
        configuration = body.pretrained_cfg
        self.input_size = input_size or tuple(configuration["input_size"][1:])
        if weights is not None and channels == 3:
            self.own_normalisation = Normalisation(configuration["mean"], configuration["std"])

    def features(self, images: Tensor) -> Features:
        """Return the features of images.

        The intermediate ones are those of all of timm's levels but the last, or, of the equal
        blocks of a transformer, after a quarter, a half and three quarters of them. A network
        whose levels timm does not give has none, [B, 0].
        """
        images = self._resized(images)
        levels = self._earlier_levels
        if not levels:
            last_map = self.body.forward_features(images)
            means = [images.new_empty((len(images), 0))]
        else:
            last_map, maps = self.body.forward_intermediates(images, indices=levels)
            means = [one.mean((2, 3)) for one in maps]
        return Features(self._penultimate(last_map), torch.cat(means, dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images."""
        last_map = self.body.forward_features(self._resized(images))
        return self.classify(self._penultimate(last_map))

    def classify(self, penultimate: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.body.get_classifier()(penultimate)
        return logits

    def take_size(self, size: tuple[int, int]) -> None:
        """Take images of this size as they are; raise a UsageError where timm cannot."""
        try:
            if hasattr(self.body, "set_input_size"):  # position embeddings and windows follow
                self.body.set_input_size(size)
            channels = self.body.pretrained_cfg["input_size"][0]
            with torch.inference_mode():
                self.body.eval()(torch.zeros(1, channels, *size))
        except Exception as error:  # timm asserts, torch raises
            raise UsageError(
                f"{self._architecture} does not take images of {size[0]} x {size[1]} pixels as "
                f"they are: {_first_line(error)}. Choose a convolutional extractor, e.g. resnet8"
            ) from error
        self.input_size = size

    @property
    def _earlier_levels(self) -> list[int]:
        if not hasattr(self.body, "forward_intermediates"):
            return []
        count = len(self.body.feature_info)
        if count <= _MOST_STAGES:
            return list(range(count - 1))
        return [quarter * count // 4 - 1 for quarter in (1, 2, 3)]

    def _penultimate(self, last_map: Tensor) -> Tensor:
        penultimate: Tensor = self.body.forward_head(last_map, pre_logits=True)
        return penultimate

    def _resized(self, images: Tensor) -> Tensor:
        if images.shape[2:] == self.input_size:
            return images
        return functional.interpolate(images, self.input_size, mode="bilinear", antialias=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
