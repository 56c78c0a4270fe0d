"""One epoch of the cpu protocol against a plain loop over a DataLoader, on the same images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bench import training
from bench.augment import Normalisation
from bench.contract import ImageDataset
from bench.models import MODELS
from bench.protocols import PROTOCOLS

IMAGES = 1280
PROTOCOL = PROTOCOLS.make_one("cpu[epochs=1]")
MODEL = MODELS.make_one("resnet8")


@pytest.fixture(scope="module")
def train():
    rng = np.random.default_rng(0)
    return ImageDataset(
        images=rng.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8),
        labels=rng.integers(0, 10, IMAGES),
        classes=tuple("abcdefghij"),
        keys=tuple(str(number) for number in range(IMAGES)),
    )


def plain_epoch(train):
    """The shape of the released validate_cifar.py: float32, a DataLoader, a step a batch."""
    network = MODEL.build(train.shape, 10)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    images = torch.from_numpy(train.images).permute(0, 3, 1, 2).float().div(255)
    loader = DataLoader(TensorDataset(images, torch.from_numpy(train.labels)), 128, shuffle=True)
    for batch, labels in loader:
        loss = functional.cross_entropy(network(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def our_epoch(train, precision):
    protocol = dataclasses.replace(PROTOCOL, precision=precision)
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    training.run(training.Job(MODEL, protocol, train, None, normalisation, 0, "cpu"))


@pytest.mark.benchmark(group="an epoch of ResNet-8 on 1,280 images of 32x32")
def test_plain_loop(benchmark, train):
    benchmark.pedantic(plain_epoch, (train,), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="an epoch of ResNet-8 on 1,280 images of 32x32")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ours(benchmark, train, precision):
    benchmark.pedantic(our_epoch, (train, precision), rounds=5, warmup_rounds=1)
