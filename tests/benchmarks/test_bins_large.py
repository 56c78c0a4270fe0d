"""GraphCut bins of ImageNet's gradients, and of a whole set that is not divided by class.

    pytest tests/benchmarks/test_bins_large.py --benchmark-enable -m ""

ImageNet has 1,000 classes of about 1,300 images; last-layer gradients of a ResNet-18 have
513,000 numbers and stay two factors. A class is a pool of its own, and pools are searched side by
side, so that the time of 1,000 classes is told from that of twenty in one call. The factors (8 GB
for all classes) are the input, and not part of the memory that is told.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bench.metering import keep_freed_memory
from methods.parts.gradients import Gradients
from methods.parts.submodular import graphcut_binning

CLASSES, IMAGES, WIDTH = 1000, 1300, 512


def features(n, d, seed):
    noise = np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)
    return np.maximum(noise + np.float32(0.5), 0)


def class_gradients(number):
    """One class's images: the residuals of a softmax that leans to this class."""
    rng = np.random.default_rng(number)
    logits = 2 * rng.standard_normal((IMAGES, CLASSES), dtype=np.float32)
    logits[:, number] += 8
    residuals = np.exp(logits - logits.max(axis=1, keepdims=True))
    residuals /= residuals.sum(axis=1, keepdims=True)
    residuals[:, number] -= 1
    return Gradients(residuals, features(IMAGES, WIDTH, number))


def memory_of(call, *arguments):
    """The most bytes that a call holds at a time."""
    tracemalloc.start()
    call(*arguments)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.benchmark(group="bins ImageNet")
@pytest.mark.parametrize("classes", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_imagenet_gradients(benchmark, classes):
    pools = [class_gradients(number) for number in range(classes)]
    residuals = np.concatenate([pool.residuals for pool in pools])
    gradients = Gradients(residuals, np.concatenate([pool.features for pool in pools]))
    arguments = (gradients, np.repeat(np.arange(classes), IMAGES), 10)
    bytes_held = memory_of(graphcut_binning, *arguments)
    keep_freed_memory()  # as in every run
    got = benchmark.pedantic(graphcut_binning, arguments, rounds=3, warmup_rounds=1)
    assert sorted(np.concatenate(got.bins)) == list(range(classes * IMAGES))
    assert bytes_held < 2**30
    benchmark.extra_info["MB held"] = bytes_held / 2**20
    benchmark.extra_info["smallest gap"] = got.smallest_gap
    if classes > 1 and benchmark.stats is not None:  # none where benchmarks only run as tests
        seconds = benchmark.stats.stats.min / classes * CLASSES
        benchmark.extra_info["seconds for 1,000 classes"] = seconds


@pytest.mark.slow
@pytest.mark.benchmark(group="bins not balanced")
def test_50000_in_one_pool(benchmark):
    x = features(50_000, 512, 0)
    arguments = (x, None, 10, "cosine", False, 2**29)
    got = benchmark.pedantic(graphcut_binning, arguments, rounds=1)
    assert sorted(np.concatenate(got.bins).tolist()) == list(range(50_000))
    assert got.searches == ("products",)
    bytes_held = memory_of(graphcut_binning, x, None, 10, "cosine", False, 2**29)
    assert bytes_held < 2**29
    benchmark.extra_info["MB held"] = bytes_held / 2**20
