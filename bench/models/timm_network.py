"""A timm network with the interface of the project's own."""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor
from torch.nn import functional

from bench.augment import Normalisation
from bench.errors import UsageError, unknown
from bench.models.networks import Features, Network


class TimmNetwork(Network):
    """A network of the timm library.

    Parameters
    ----------
    architecture : str
        timm's name of it.
    channels, classes : int
        Of the images and of the outputs.
    pretrained : bool
        Load timm's weights.
    input_size : (int, int) or None
        The size that images are resized to; None for the size that the network is made for.
    settings : mapping
        What is handed on to timm, e.g. ``patch_size``.

    Raises
    ------
    UsageError
        When timm does not know the architecture, or cannot make it with these settings.
    """

    def __init__(
        self,
        architecture: str,
        channels: int,
        classes: int,
        pretrained: bool = False,
        input_size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if not timm.is_model(architecture):
            raise unknown("timm architecture", architecture, timm.list_models(pretrained=False))
        try:
            self.body: Any = timm.create_model(
                architecture,
                pretrained=pretrained,
                in_chans=channels,
                num_classes=classes,
                **settings,
            )
        except Exception as error:  # timm raises what its downloader raises
            raise UsageError(
                f"timm cannot make '{architecture}' (pretrained={pretrained}): "
                f"{str(error).splitlines()[0]}. Without a network, put the weights into the "
                "Hugging Face cache (HF_HOME), or use pretrained=false"
            ) from error
        configuration: Any = self.body.pretrained_cfg
        self.input_size = input_size or tuple(configuration["input_size"][1:])
        if pretrained and channels == 3:
            self.own_normalisation = Normalisation(configuration["mean"], configuration["std"])

    def features(self, images: Tensor) -> Features:
        """Return the features of images; the intermediate ones are the last map's means."""
        if images.shape[2:] != self.input_size:
            images = functional.interpolate(
                images, self.input_size, mode="bilinear", antialias=True
            )
        last_map = self.body.forward_features(images)
        penultimate = self.body.forward_head(last_map, pre_logits=True)
        return Features(penultimate, self._pooled(last_map))

    def _pooled(self, last_map: Tensor) -> Tensor:
        """Return the means of the last map over its places; timm's maps differ in layout."""
        if last_map.ndim == 4:
            is_channels_first = last_map.shape[1] == self.body.num_features
            return last_map.mean((2, 3) if is_channels_first else (1, 2))
        return last_map.mean(1) if last_map.ndim == 3 else last_map

    def classify(self, penultimate: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.body.get_classifier()(penultimate)
        return logits
