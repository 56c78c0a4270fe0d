"""An epoch of training against a plain loop over a DataLoader, on the same images.

A convolution over small maps, as ResNet-18 and ResNet-50 have them last, by torch and by place.

The share of the machine's peak, measured in the same process, stands in each result's
``extra_info`` (--benchmark-json, or -s).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bench import training
from bench.augment import Normalisation
from bench.calibration import calibrate
from bench.contract import ImageDataset
from bench.execution import prepare_torch
from bench.models import MODELS
from bench.models.convolutions import by_place
from bench.operations import TRAINING_FACTOR, operations_per_image
from bench.protocols import PROTOCOLS

PROTOCOL = PROTOCOLS.make_one("cpu[epochs=1]")
SIZES = {"resnet8": 1280, "resnet18": 2560}
"""Images of an epoch, by model; of ResNet-18 so many that making the network counts little."""
MODELS_ASKED = ["resnet8", pytest.param("resnet18", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def train():
    """Give a function that makes random images of CIFAR's size."""
    prepare_torch(torch.get_num_threads())

    def of(model):
        count = SIZES[model]
        rng = np.random.default_rng(0)
        return ImageDataset(
            images=rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
            labels=rng.integers(0, 10, count),
            classes=tuple("abcdefghij"),
            keys=tuple(str(number) for number in range(count)),
        )

    return of


def plain_epoch(train, model):
    """The shape of the released validate_cifar.py: float32, a DataLoader, a step a batch."""
    network = MODELS.make_one(model).build(train.shape, 10)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    images = torch.from_numpy(train.images).permute(0, 3, 1, 2).float().div(255)
    loader = DataLoader(TensorDataset(images, torch.from_numpy(train.labels)), 128, shuffle=True)
    for batch, labels in loader:
        loss = functional.cross_entropy(network(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def our_epoch(train, model, precision):
    protocol = dataclasses.replace(PROTOCOL, precision=precision)
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    job = training.Job(MODELS.make_one(model), protocol, train, None, normalisation, 0, "cpu")
    training.run(job)


def told_share(benchmark, train, model, precision):
    if benchmark.disabled:
        return
    each = operations_per_image(MODELS.make_one(model), train.shape, 10)
    rate = TRAINING_FACTOR * each * len(train) / benchmark.stats.stats.min
    share = rate / calibrate("cpu").peak(precision)
    benchmark.extra_info |= {"GFLOP/s": rate / 1e9, "share_of_peak": share}
    print(f"\n{model} {precision}: {rate / 1e9:.0f} GFLOP/s, {100 * share:.0f} % of the peak")


@pytest.mark.parametrize("model", MODELS_ASKED)
def test_plain_loop(benchmark, train, model):
    images = train(model)
    benchmark.group = f"an epoch of {model}"
    benchmark.pedantic(plain_epoch, (images, model), rounds=3, warmup_rounds=1)
    told_share(benchmark, images, model, "fp32")


@pytest.mark.parametrize("model", MODELS_ASKED)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ours(benchmark, train, model, precision):
    images = train(model)
    benchmark.group = f"an epoch of {model}"
    benchmark.pedantic(our_epoch, (images, model, precision), rounds=3, warmup_rounds=1)
    told_share(benchmark, images, model, precision)


def by_torch(images, weight, stride):
    return functional.conv2d(images, weight, None, stride, weight.shape[-1] // 2)


@pytest.mark.parametrize("way", [by_torch, by_place])
@pytest.mark.parametrize(
    ("inputs", "outputs", "side", "kernel", "stride"),
    [
        (512, 512, 4, 3, 1),
        (256, 256, 8, 3, 1),
        (128, 256, 16, 3, 2),
        (256, 512, 8, 3, 2),
        (256, 512, 8, 1, 2),
        (512, 2048, 4, 1, 1),
        (2048, 512, 4, 1, 1),
        (1024, 2048, 8, 1, 2),
    ],
)
def test_small_maps(benchmark, inputs, outputs, side, kernel, stride, way):
    def made(*shape):
        one = torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last)
        return one.requires_grad_()

    def step():
        way(images, weight, stride).backward(owed)

    prepare_torch(torch.get_num_threads())
    images, weight = made(128, inputs, side, side), made(outputs, inputs, kernel, kernel)
    owed = made(128, outputs, side // stride, side // stride).detach()
    benchmark.group = f"{inputs} to {outputs}, {kernel} x {kernel}, map of {side // stride}"
    benchmark.pedantic(step, rounds=5, warmup_rounds=1)
