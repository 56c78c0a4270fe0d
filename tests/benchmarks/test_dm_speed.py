"""An iteration of distribution matching against a plain loop over the classes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import training
from bench.augment import Normalisation
from bench.contract import ImageDataset
from bench.dsa import SiameseAugmentation
from bench.identity import derive_seed
from bench.models import MODELS
from methods.parts.matching import Matching, MatchingRun

CLASSES, REAL = 10, 256
MODEL = MODELS.make_one("convnet3")
NORMALISATION = Normalisation((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
PER_CLASS = [1, 10, pytest.param(50, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def train():
    """Random images of CIFAR's size, a few more of each class than an iteration takes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), REAL + 44)
    return ImageDataset(
        images=rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8),
        labels=labels,
        classes=tuple("abcdefghij"),
        keys=tuple(str(number) for number in range(len(labels))),
    )


def start_of(per_class):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(CLASSES * per_class, 3, 32, 32, generator=generator)


def plain_loop(train, per_class):
    """Return an iteration in the shape of the released main_DM.py, with our augmentation."""
    pixels = torch.from_numpy(train.images).permute(0, 3, 1, 2).float().div(255)
    mean, deviation = (
        torch.tensor(one).view(3, 1, 1) for one in (NORMALISATION.mean, NORMALISATION.deviation)
    )
    real = (pixels - mean) / deviation
    members = [np.flatnonzero(train.labels == label) for label in range(CLASSES)]
    synthetic = start_of(per_class).requires_grad_()
    optimizer = torch.optim.SGD([synthetic], lr=1.0, momentum=0.5)
    augmentation = SiameseAugmentation()
    generator = torch.Generator().manual_seed(0)

    def iterate():
        network = MODEL.build(train.shape, CLASSES).requires_grad_(False)
        loss = torch.zeros(())
        for label in range(CLASSES):
            images = real[np.random.permutation(members[label])[:REAL]]
            ours = synthetic[label * per_class : (label + 1) * per_class]
            draw = augmentation.draw(1, generator)
            images, ours = (
                augmentation.apply(one, draw.take(torch.zeros(len(one), dtype=torch.int64)))
                for one in (images, ours)
            )
            target = network.features(images.contiguous()).penultimate.detach().mean(0)
            gap = target - network.features(ours.contiguous()).penultimate.mean(0)
            loss = loss + gap.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return iterate


def our_run(train, per_class):
    """Return an iteration of a run that keeps no checkpoint."""
    settings = Matching(MODEL, 10_000, REAL, 1.0, 0.5, SiameseAugmentation(), NORMALISATION)
    ctx = SimpleNamespace(device="cpu", seed=lambda *names: derive_seed(0, *names))
    counts = np.full(CLASSES, per_class)
    run = MatchingRun(settings, train, counts, start_of(per_class), ctx, "")
    numbers = iter(range(1, 10_000))

    def iterate():
        with training.deterministic():
            run._update(next(numbers))

    return iterate


@pytest.mark.parametrize("per_class", PER_CLASS)
@pytest.mark.parametrize("make", [plain_loop, our_run])
@pytest.mark.benchmark(group="an iteration of DM, 10 classes of 32x32, 256 real images each")
def test_an_iteration(benchmark, make, per_class, train):
    benchmark.group += f", {per_class} synthetic"
    benchmark.pedantic(make(train, per_class), rounds=3, warmup_rounds=1)
