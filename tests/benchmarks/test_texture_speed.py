"""Texture level: the released algorithm's loop over images beside ours."""

from __future__ import annotations

import numpy as np
import pytest

from methods.parts.texture import texture_level

COUNTS = [1000, pytest.param(20000, marks=pytest.mark.slow)]


def released_levels(images):
    """Score the images in the released way, without its data loader (`texture_level.py`)."""
    cv2 = pytest.importorskip("cv2")
    levels = []
    for image in images:
        tensor = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / 255
        gray = cv2.cvtColor(np.ascontiguousarray(tensor.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
        across = np.abs(cv2.Sobel(gray, cv2.CV_64F, 1, 0, ksize=3))
        down = np.abs(cv2.Sobel(gray, cv2.CV_64F, 0, 1, ksize=3))
        levels.append(cv2.addWeighted(across, 0.5, down, 0.5, 0).mean())
    return np.array(levels)


def plain_levels(images):
    """Score the images one by one in plain numpy, in float64."""
    levels = []
    for image in images:
        gray = np.pad(image @ np.array([0.299, 0.587, 0.114]) / 255, 1, mode="reflect")
        smooth_down = gray[:-2] + 2 * gray[1:-1] + gray[2:]
        smooth_across = gray[:, :-2] + 2 * gray[:, 1:-1] + gray[:, 2:]
        across = np.abs(smooth_down[:, 2:] - smooth_down[:, :-2])
        down = np.abs(smooth_across[2:] - smooth_across[:-2])
        levels.append((0.5 * across + 0.5 * down).mean())
    return np.array(levels)


@pytest.fixture(params=COUNTS, ids=lambda count: f"{count} of 32x32x3")
def images(request):
    """Random images of the size of CIFAR-10's."""
    shape = (request.param, 32, 32, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.benchmark(group="texture")
@pytest.mark.parametrize("levels", [released_levels, plain_levels])
def test_image_by_image(benchmark, images, levels):
    got = benchmark.pedantic(levels, (images,), rounds=1)
    np.testing.assert_allclose(got, texture_level(images), rtol=1e-6)


@pytest.mark.benchmark(group="texture")
def test_ours(benchmark, images):
    got = benchmark.pedantic(texture_level, (images,), rounds=5, warmup_rounds=1)
    assert len(got) == len(images)
