"""An epoch of augmented batches: one gather of rows against a DataLoader with transforms.

The plain loaders are those of the released ``validate_cifar.py`` (DQ at 24a2a77): torchvision's
random crop, flip, tensor and normalisation of one image at a time, batches of 128, two workers that
stay. One has its images in memory, the other reads them from JPEG files.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from bench.augment import DeviceImages, Normalisation
from bench.batches import ResidentBatches
from bench.protocols import PROTOCOLS, Load
from bench.team import ALONE

IMAGES, CLASSES, BATCH, WORKERS = 5000, 10, 128, 2
NORMALISATION = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
TRANSFORMS = transforms.Compose(
    [
        transforms.RandomCrop(32, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(NORMALISATION.mean, NORMALISATION.deviation),
    ]
)
PROTOCOL = PROTOCOLS.make_one("paper")


class InMemory(Dataset):
    """Images of an array, made PIL's one by one, as torchvision's CIFAR10 does."""

    def __init__(self, images, labels):
        self._images = images
        self._labels = labels

    def __len__(self):
        return len(self._images)

    def __getitem__(self, position):
        return TRANSFORMS(Image.fromarray(self._images[position])), int(self._labels[position])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def labels():
    return np.arange(IMAGES) % CLASSES


@pytest.fixture(scope="module")
def folder(tmp_path_factory, images, labels):
    root = tmp_path_factory.mktemp("images")
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = root / f"class{label}"
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"{position:05d}.jpg", quality=90)
    return root


def loader(dataset):
    return DataLoader(
        dataset, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, pin_memory=False
    )


def drained(batches):
    return sum(len(batch) for batch, _ in batches)


@pytest.mark.benchmark(group="an epoch of 5,000 images of 32x32, from memory and from files")
def test_plain_loader_from_memory(benchmark, images, labels):
    batches = loader(InMemory(images, labels))
    assert benchmark.pedantic(drained, (batches,), rounds=5, warmup_rounds=1) == IMAGES


@pytest.mark.slow
@pytest.mark.benchmark(group="an epoch of 5,000 images of 32x32, from memory and from files")
def test_plain_loader_from_files(benchmark, folder):
    batches = loader(datasets.ImageFolder(folder, TRANSFORMS))
    assert benchmark.pedantic(drained, (batches,), rounds=5, warmup_rounds=1) == IMAGES


@pytest.mark.benchmark(group="an epoch of 5,000 images of 32x32, from memory and from files")
def test_ours(benchmark, images, labels):
    job = SimpleNamespace(
        protocol=PROTOCOL, load=Load.of_all(IMAGES), seed=0, team=ALONE,
        soft_labels=None, weights=None,
    )  # fmt: skip
    held = DeviceImages(images, labels, NORMALISATION, torch.device("cpu"), PROTOCOL.padding)
    batches = ResidentBatches(held, labels, job)
    steps = PROTOCOL.steps_per_pass(job.load)
    passes = iter(range(1000))

    def epoch():
        first = next(passes) * steps  # another pass each time: its order and crops are drawn too
        return sum(len(part.images) for n in range(steps) for part in batches.at(first + n))

    assert benchmark.pedantic(epoch, rounds=20, warmup_rounds=2) == IMAGES
