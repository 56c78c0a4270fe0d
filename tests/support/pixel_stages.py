"""Small pixel stages and the images for them."""

from __future__ import annotations

import numpy as np

from bench.contract import ImageDataset
from methods.parts import mae
from methods.parts.embeddings import Extractor
from methods.parts.pixels import PixelStage

TINY = mae.Sizes(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)


EXTRACTOR = Extractor("resnet8[width=4]", 1)


def stage(**changes) -> PixelStage:
    return PixelStage(**{"drop": 0.25, "extractor": EXTRACTOR, "mae_epochs": 1, **changes})


def images_of(height, width, channels, count=6) -> ImageDataset:
    rng = np.random.default_rng(height * width)
    return ImageDataset(
        rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8),
        np.arange(count) % 2,
        ("one", "two"),
        tuple(f"{number:05d}" for number in range(count)),
    )
