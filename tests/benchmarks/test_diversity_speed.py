"""The released diversity of a bin: our batches beside a loop over single images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision import transforms

from bench.augment import Normalisation
from bench.metering import keep_freed_memory
from bench.models import MODELS
from methods.parts.diversity import gram_diversity
from methods.parts.embeddings import extract
from methods.parts.views import Crops

IMAGES, SIDE = 500, 32
STATISTICS = Normalisation((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
NETWORKS = [
    "resnet8",
    pytest.param("timm[architecture=resnet18]", marks=pytest.mark.slow),
]


class Quiet:
    """A context that only says where to compute."""

    device = "cpu"

    def progress(self, stage, done, total):
        """Tell nobody."""


@pytest.fixture(params=NETWORKS)
def network(request):
    keep_freed_memory()  # as in every run; of use to both
    made = MODELS.make_one(request.param).build((SIDE, SIDE, 3), 10)
    made.take_size((SIDE, SIDE))
    return made.to(memory_format=torch.channels_last).eval()


@pytest.fixture(scope="module")
def images():
    shape = (IMAGES, SIDE, SIDE, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def head_of(width):
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 128))


def one_image_at_a_time(network, images):
    """Score a bin in the released way: two views an image, a network's call a view."""
    view = transforms.Compose([
        transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(),
    ])  # fmt: skip
    prepare = transforms.Compose([
        transforms.ToTensor(), transforms.Normalize(STATISTICS.mean, STATISTICS.deviation),
    ])  # fmt: skip
    embeddings, head = [], None
    with torch.no_grad():
        for image in images:
            for _ in range(2):
                features = network.features(view(prepare(image)).unsqueeze(0)).penultimate
                head = head or head_of(features.shape[1])
                embeddings.append(functional.normalize(head(features), dim=1).numpy())
    stacked = np.vstack(embeddings)
    return float(1 / np.dot(stacked, stacked.T).mean())


def in_batches(network, images):
    views, head = [], None
    for seed in (0, 1):
        crops = Crops.draw(len(images), (SIDE, SIDE), seed)
        features, _ = extract(network, images, STATISTICS, Quiet(), "diversity", crops.apply)
        head = head or head_of(features.shape[1])
        with torch.inference_mode():
            views.append(functional.normalize(head(torch.from_numpy(features)), dim=1).numpy())
    return gram_diversity(*views)


@pytest.mark.benchmark(group="diversity of 500 images of 32x32x3")
def test_one_image_at_a_time(benchmark, network, images):
    assert benchmark.pedantic(one_image_at_a_time, (network, images), rounds=1) > 0


@pytest.mark.benchmark(group="diversity of 500 images of 32x32x3")
def test_ours(benchmark, network, images):
    assert benchmark.pedantic(in_batches, (network, images), rounds=3, warmup_rounds=1) > 0
