"""The project's own networks, and what every network offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.augment import Normalisation
from bench.models.convolutions import Convolution


class Features(NamedTuple):
    """What a network knows of a batch before its last layer."""

    penultimate: Tensor
    """[B, d]: what the last layer sees."""
    intermediate: Tensor
    """[B, e]: global means of the earlier stages' maps, side by side."""


class Network(nn.Module):
    """A classifier that also gives its features.

    ``own_normalisation`` is what pretrained weights were trained with; None for the data set's.
    ``pretrained`` tells their name and the sha256 of their file; None without.
    """

    own_normalisation: Normalisation | None = None
    pretrained: Mapping[str, str] | None = None

    @abstractmethod
    def features(self, images: Tensor) -> Features:
        """Return the features of images, float [B, C, H, W]."""

    @abstractmethod
    def classify(self, penultimate: Tensor) -> Tensor:
        """Return the logits [B, classes] of penultimate features."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of images."""
        return self.classify(self.features(images).penultimate)

    def take_size(self, size: tuple[int, int]) -> None:
        """Take images of this size (height, width) as they are, where others are resized."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016)."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Convolution(inputs, width, 3, stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = Convolution(width, width, 3)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential(
                Convolution(inputs, width, 1, stride), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        y = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, with a shortcut (He et al. 2016)."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = Convolution(inputs, width, 1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = Convolution(width, width, 3, stride)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = Convolution(width, outputs, 1)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                Convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's map."""
        y = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        y = functional.relu(self.norm2(self.conv2(y)), inplace=True)
        return functional.relu(self.norm3(self.conv3(y)) + self.shortcut(x), inplace=True)


def global_mean(maps: Tensor) -> Tensor:
    """Return the mean [B, C] of each map of [B, C, H, W].

    Its gradient is laid out as the maps are. Torch's is one number expanded over a map, which a
    ReLU's gradient goes through in another order than its maps: 1.1 of the 30 ms that a step of
    ResNet-8 takes on two cores, 2.8 of 530 of ResNet-18.
    """
    if maps.requires_grad:
        maps.register_hook(  # type: ignore[no-untyped-call]
            # The layout by permuting: vmap knows no channels-last.
            lambda owed: owed.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        )
    return maps.mean((2, 3))


class ResNet(Network):
    """A residual network for small images: 3x3 stem, one stage a width, global mean, linear.

    Parameters
    ----------
    channels, classes : int
        Of the images and of the outputs.
    widths : sequence of int
        Width of each stage; all but the first halve the map.
    blocks : sequence of int
        Blocks of each stage.
    block : type
        What the stages are made of.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        block: type[BasicBlock | Bottleneck] = BasicBlock,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(Convolution(channels, widths[0], 3), nn.BatchNorm2d(widths[0]))
        stages, inputs = [], widths[0]
        for number, width in enumerate(widths):
            strides = [1 if number == 0 else 2, *[1] * (blocks[number] - 1)]
            stage: list[nn.Module] = []
            for stride in strides:
                stage.append(block(inputs, width, stride))
                inputs = block.expansion * width
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)
        self.last = nn.Linear(inputs, classes)

    def features(self, images: Tensor) -> Features:
        """Return the features of images."""
        means = [global_mean(stage_map) for stage_map in self._maps(images)]
        return Features(means[-1], torch.cat(means[:-1], dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits; the earlier stages' means, 5 % of a step, are left out."""
        *_, last_map = self._maps(images)
        return self.classify(global_mean(last_map))

    def _maps(self, images: Tensor) -> Iterator[Tensor]:
        x = functional.relu(self.stem(images), inplace=True)
        for stage in self.stages:
            x = stage(x)
            yield x

    def classify(self, penultimate: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.last(penultimate)
        return logits
