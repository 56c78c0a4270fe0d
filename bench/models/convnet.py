"""The ConvNet of the dataset-condensation literature."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.models.networks import Features, Network

STAGES = 3
SMALLEST_SIDE = 2**STAGES


class ConvNet(Network):
    """Three stages of 3x3 convolution, instance normalisation, ReLU and 2x2 mean pooling.

    As ``networks.py`` of the released DatasetCondensation (Zhao and Bilen): the normalisation
    has a scale and a shift for each channel, and grey images are padded by 3 pixels in the
    first convolution, which makes MNIST's 28 pixels 32.

    Parameters
    ----------
    height, width : int
        Of the images, at least 8.
    channels : int
        Of the images.
    maps : int
        Channels of every stage.

    Raises
    ------
    UsageError
        For smaller images: nothing would be left of them after three poolings.
    """

    def __init__(self, height: int, width: int, channels: int, classes: int, maps: int) -> None:
        super().__init__()
        if min(height, width) < SMALLEST_SIDE:
            raise UsageError(
                f"convnet3 cannot take images of {height} x {width}: it halves them three times. "
                f"Give images of at least {SMALLEST_SIDE} x {SMALLEST_SIDE}, or another model"
            )
        first_padding = 3 if channels == 1 else 1
        stages, inputs = [], channels
        for number in range(STAGES):
            stages.append(
                nn.Sequential(
                    nn.Conv2d(inputs, maps, 3, padding=1 if number else first_padding),
                    nn.GroupNorm(maps, maps),  # a group a channel: instance normalisation
                    nn.ReLU(inplace=True),
                    nn.AvgPool2d(2),
                )
            )
            inputs = maps
        self.stages = nn.ModuleList(stages)
        grown = 2 * (first_padding - 1)
        places = ((height + grown) >> STAGES) * ((width + grown) >> STAGES)
        self.last = nn.Linear(maps * places, classes)

    def features(self, images: Tensor) -> Features:
        """Return the last stage's map, flattened, and the earlier stages' means."""
        *earlier, last_map = self._maps(images)
        means = torch.cat([stage_map.mean((2, 3)) for stage_map in earlier], dim=1)
        return Features(last_map.flatten(1), means)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, without the earlier stages' means."""
        *_, last_map = self._maps(images)
        return self.classify(last_map.flatten(1))

    def _maps(self, images: Tensor) -> Iterator[Tensor]:
        x = images
        for stage in self.stages:
            x = stage(x)
            yield x

    def classify(self, penultimate: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.last(penultimate)
        return logits
