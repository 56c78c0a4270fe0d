"""Streamed crops of photos against torchvision's ImageFolder in a plain DataLoader.

Both decode the same JPEG files of 500 x 375 pixels in two workers, cut a random part of each, bring
it to 224 pixels, mirror half of them and normalise. The plain loader is that of torchvision's
ImageNet example; what is streamed draws all chance from the seed and the step.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from bench.datasets import DATASETS, Source
from bench.feeding import Feed, Stream
from bench.normalising import IMAGENET
from bench.protocols import PROTOCOLS, Load
from bench.streaming import StreamedBatches
from bench.team import ALONE

IMAGES, BATCH, WORKERS, SIDE = 256, 32, 2, 224
PROTOCOL = PROTOCOLS.make_one(f"paper[augmentation=resized-crop+flip,batch_size={BATCH}]")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        for split in ("train", "val") if number < 2 else ("train",):
            place = folder / split / f"n{number % 2:08d}"
            place.mkdir(parents=True, exist_ok=True)
            photo.save(place / f"n{number % 2:08d}_{number}.JPEG", format="JPEG", quality=90)
    return folder


@pytest.fixture(scope="module")
def plain(root):
    steps = [
        transforms.RandomResizedCrop(SIDE),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET.mean, IMAGENET.deviation),
    ]
    folder = datasets.ImageFolder(str(root / "train"), transforms.Compose(steps))
    return DataLoader(folder, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)


@pytest.fixture(scope="module")
def streamed(root):
    import torch

    train = DATASETS.make_one("imagenet").load(Source(root)).train
    job = SimpleNamespace(
        protocol=PROTOCOL, seed=0, load=Load.of_all(IMAGES), soft_labels=None, weights=None,
        team=ALONE, normalisation=IMAGENET, device="cpu", feed=Feed(Stream.ALWAYS, WORKERS),
    )  # fmt: skip
    return StreamedBatches(train, job, torch.device("cpu"))


@pytest.mark.benchmark(group="an epoch of crops from photos")
def test_a_plain_loader(benchmark, plain):
    def epoch():
        return sum(len(images) for images, _ in plain)

    assert benchmark.pedantic(epoch, rounds=4, warmup_rounds=1) == IMAGES


@pytest.mark.benchmark(group="an epoch of crops from photos")
def test_streamed(benchmark, streamed):
    steps = itertools.count()

    def epoch():
        parts = (streamed.at(next(steps)) for _ in range(IMAGES // BATCH))
        return sum(len(part.index) for step in parts for part in step)

    assert benchmark.pedantic(epoch, rounds=4, warmup_rounds=1) == IMAGES
    streamed.close()
