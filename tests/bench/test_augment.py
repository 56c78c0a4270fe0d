from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.augment import DeviceImages, Epoch, Normalisation

CPU = torch.device("cpu")


def plain_crop(image, top, left, flip, padding, normalisation):
    """One image at a time, as torchvision's transforms do it."""
    height, width, _ = image.shape
    padded = np.zeros((height + 2 * padding, width + 2 * padding, image.shape[2]), np.uint8)
    padded[padding : padding + height, padding : padding + width] = image
    cut = padded[top : top + height, left : left + width]
    cut = cut[:, ::-1] if flip else cut
    return (cut / 255 - np.array(normalisation.mean)) / np.array(normalisation.deviation)


@pytest.mark.parametrize("shape", [(5, 8, 8, 1), (7, 6, 10, 3)])
def test_one_gather_gives_what_cropping_image_by_image_gives(shape):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    normalisation = Normalisation((0.4,) * shape[3], (0.2,) * shape[3])
    held = DeviceImages(images, np.zeros(len(images), np.int64), normalisation, CPU, padding=2)
    index = torch.tensor([3, 0, 3, 1])
    top, left = torch.tensor([0, 4, 2, 1]), torch.tensor([4, 0, 2, 3])
    flip = torch.tensor([True, False, False, True])
    batch = held.augmented(index, top, left, flip)
    for position in range(len(index)):
        expected = plain_crop(
            images[index[position]], top[position], left[position], flip[position], 2, normalisation
        )
        found = batch[position].permute(1, 2, 0).numpy()
        assert found == pytest.approx(expected, abs=1e-5)


def test_plain_images_are_the_originals_normalised():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    normalisation = Normalisation.of(images)
    held = DeviceImages(images, np.zeros(9, np.int64), normalisation, CPU, padding=3)
    batch = held.plain(2, 6)
    expected = (images[2:6] / 255 - np.array(normalisation.mean)) / normalisation.deviation
    assert batch.permute(0, 2, 3, 1).numpy() == pytest.approx(expected, abs=1e-5)


def test_normalisation_is_that_of_numpy_in_float64():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    found = Normalisation.of(images)
    assert found.mean == pytest.approx((images / 255).mean((0, 1, 2)))
    assert found.deviation == pytest.approx((images / 255).std((0, 1, 2)))


def test_a_constant_channel_does_not_divide_by_zero():
    images = np.full((4, 8, 8, 1), 7, np.uint8)
    held = DeviceImages(images, np.zeros(4, np.int64), Normalisation.of(images), CPU)
    assert torch.isfinite(held.plain(0, 4)).all()


def test_batches_are_channels_last_for_the_convolutions():
    images = np.zeros((4, 8, 8, 3), np.uint8)
    held = DeviceImages(images, np.zeros(4, np.int64), Normalisation((0.5,) * 3, (0.5,) * 3), CPU)
    assert held.plain(0, 4).is_contiguous(memory_format=torch.channels_last)
    assert functional.relu(held.plain(0, 4)).is_contiguous(memory_format=torch.channels_last)


def test_an_epochs_choices_follow_the_seed_and_cover_every_image():
    first, again, other = (Epoch.draw(50, 2, True, seed) for seed in (1, 1, 2))
    assert first.order.equal(again.order)
    assert first.top.equal(again.top)
    assert not first.order.equal(other.order)
    assert sorted(first.order.tolist()) == list(range(50))
    assert {*first.top.tolist(), *first.left.tolist()} == {0, 1, 2, 3, 4}
    assert Epoch.draw(50, 0, False, 1).flip is None


def test_reflected_borders_are_torchs_and_zeros_are_black():
    images = np.random.default_rng(1).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    identity = Normalisation((0.0,) * 3, (1 / 255,) * 3)
    corner = torch.zeros(2, dtype=torch.int64)
    found = {
        fill: DeviceImages(images, np.zeros(2, np.int64), identity, CPU, 2, fill).augmented(
            torch.arange(2), corner, corner, None
        )
        for fill in ("zeros", "reflect")
    }
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    reflected = functional.pad(floats, (2, 2, 2, 2), mode="reflect")
    assert torch.allclose(found["reflect"], reflected[:, :, :6, :5], atol=1e-3)
    assert (found["zeros"][:, :, :2] == 0).all()


def test_float_images_keep_values_outside_of_the_usual_range():
    images = np.array([-30.5, 300.25], np.float32).reshape(1, 1, 2, 1)
    held = DeviceImages(images, np.zeros(1, np.int64), Normalisation((0.0,), (1 / 255,)), CPU)
    assert held.plain(0, 1).reshape(-1).tolist() == pytest.approx([-30.5, 300.25])
