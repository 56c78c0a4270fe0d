"""Batches of augmented images: one gather against a plain transform of one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.augment import DeviceImages, Epoch, Normalisation

IMAGES, BATCH, PADDING = 5000, 128, 4
CPU = torch.device("cpu")
NORMALISATION = Normalisation((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)


def batches_image_by_image(images, epoch):
    """Pad, cut, mirror, scale and stack as a DataLoader with transforms does, from memory."""
    mean = torch.tensor(NORMALISATION.mean).view(3, 1, 1)
    deviation = torch.tensor(NORMALISATION.deviation).view(3, 1, 1)
    for start in range(0, BATCH * 4, BATCH):
        stacked = []
        for position in range(start, start + BATCH):
            image = torch.from_numpy(images[epoch.order[position]]).permute(2, 0, 1)
            padded = torch.nn.functional.pad(image, (PADDING,) * 4)
            top, left = int(epoch.top[position]), int(epoch.left[position])
            cut = padded[:, top : top + 32, left : left + 32]
            cut = cut.flip(2) if epoch.flip[position] else cut
            stacked.append((cut.float() / 255 - mean) / deviation)
        torch.stack(stacked)


def batches_by_one_gather(held, epoch):
    for start in range(0, BATCH * 4, BATCH):
        batch = slice(start, start + BATCH)
        held.augmented(epoch.order[batch], epoch.top[batch], epoch.left[batch], epoch.flip[batch])


@pytest.mark.benchmark(group="input pipeline, 512 images of 32x32")
def test_plain_image_by_image(benchmark, images):
    benchmark(batches_image_by_image, images, Epoch.draw(IMAGES, PADDING, True, 0))


@pytest.mark.benchmark(group="input pipeline, 512 images of 32x32")
def test_ours_one_gather(benchmark, images):
    held = DeviceImages(images, np.zeros(IMAGES, np.int64), NORMALISATION, CPU, PADDING)
    benchmark(batches_by_one_gather, held, Epoch.draw(IMAGES, PADDING, True, 0))
