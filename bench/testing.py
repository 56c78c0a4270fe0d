"""Testing a network: which images this process looks at, and which it recognises."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.stepping import autocast

if TYPE_CHECKING:
    from bench.augment import TestImages
    from bench.contract import ImageDataset
    from bench.models.networks import Network
    from bench.precision import Precision
    from bench.team import Team

TEST_BATCH = 250
"""Images a test batch: what keeps a small network's maps in the cache of a CPU core."""
_GPU_TEST_PIXELS = 2500 * 32 * 32
"""Pixels a test batch on a GPU: what fills one."""


def own_part(test: ImageDataset, team: Team) -> ImageDataset:
    """Return the test images that this process looks at."""
    return test if team.size == 1 else test.subset(np.arange(len(test))[team.part(len(test))])


@torch.inference_mode()
def predict(network: Network, images: TestImages, precision: Precision) -> Tensor:
    """Return the predicted label of every image, int64 [N]."""
    network.eval()
    guesses = [torch.empty(0, dtype=torch.int64, device=images.device)]
    with contextlib.closing(images.blocks(_test_batch(images))) as blocks:
        for batch in blocks:
            with autocast(images.device, precision):
                guesses.append(network(batch).argmax(1))
    return torch.cat(guesses)


def _test_batch(images: TestImages) -> int:
    if images.device.type == "cpu":
        return TEST_BATCH
    return max(16, _GPU_TEST_PIXELS // images.pixels)


def right_by_class(guessed: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return how many images of each class were recognised, int64 [classes]."""
    return torch.bincount(labels[guessed == labels], minlength=classes)
