"""A timm network with the interface of the project's own."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import UsageError, unknown
from bench.models.networks import Features, Network


class TimmNetwork(Network):
    """A network of the timm library; images are resized to the size that it was made for."""

    def __init__(self, architecture: str, channels: int, classes: int, pretrained: bool) -> None:
        super().__init__()
        if not timm.is_model(architecture):
            raise unknown("timm architecture", architecture, timm.list_models())
        try:
            self.body: Any = timm.create_model(
                architecture, pretrained=pretrained, in_chans=channels, num_classes=classes
            )
        except Exception as error:  # timm raises what its downloader raises
            raise UsageError(
                f"timm cannot make '{architecture}' (pretrained={pretrained}): "
                f"{str(error).splitlines()[0]}. Without a network, put the weights into the "
                "Hugging Face cache (HF_HOME), or use pretrained=false"
            ) from error
        configuration: Any = self.body.pretrained_cfg
        self.input_size: tuple[int, int] = tuple(configuration["input_size"][1:])

    def features(self, images: Tensor) -> Features:
        """Return the features of images; the intermediate ones are the last map's means."""
        if images.shape[2:] != self.input_size:
            images = functional.interpolate(
                images, self.input_size, mode="bilinear", antialias=True
            )
        last_map = self.body.forward_features(images)
        penultimate = self.body.forward_head(last_map, pre_logits=True)
        spatial = [d for d in range(1, last_map.ndim) if last_map.shape[d] != penultimate.shape[1]]
        return Features(penultimate, torch.mean(last_map, dim=spatial or [1]))

    def classify(self, penultimate: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.body.get_classifier()(penultimate)
        return logits
