"""Differentiable Siamese augmentation: every operation against a plain reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from bench.dsa import OPERATIONS, Draws, SiameseAugmentation, affine
from bench.training import deterministic

SHAPES = [(3, 8, 8), (1, 8, 8), (3, 32, 32), (3, 9, 14)]


def some_images(shape, count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=generator, dtype=torch.float64)


def of(name, numbers, images):
    """Apply one operation with given numbers, the same for all images."""
    numbers = torch.as_tensor(numbers, dtype=torch.float64).expand(len(images), 11)
    operation = torch.zeros(len(images), dtype=torch.int64)
    return SiameseAugmentation((name,)).apply(images, Draws(operation, numbers))


def numbers_with(**values):
    """Numbers that change nothing, except for those given by name."""
    places = {
        "brightness": 0, "saturation": 1, "contrast": 2, "flip": 3, "rotate": 4,
        "crop_down": 5, "crop_right": 6, "cutout_down": 7, "cutout_right": 8,
        "across": 9, "down": 10,
    }  # fmt: skip
    unit_scale = (1 - 1 / 1.2) / (1.2 - 1 / 1.2)
    numbers = [0.5] * 9 + [unit_scale] * 2
    for name, value in values.items():
        numbers[places[name]] = value
    return numbers


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["color", "crop", "flip", "scale", "rotate"])
def test_the_middle_of_every_range_changes_nothing(name, shape):
    images = some_images(shape)
    assert of(name, numbers_with(), images).numpy() == pytest.approx(images.numpy(), abs=1e-9)


def test_flip_mirrors_below_one_half():
    images = some_images((3, 5, 7))
    assert of("flip", numbers_with(flip=0.49), images).equal(images.flip(3))
    assert of("flip", numbers_with(flip=0.5), images).equal(images)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angle", [-14.0, 3.0, 15.0])
def test_a_rotation_is_scipys(shape, angle):
    images = some_images(shape)
    turned = of("rotate", numbers_with(rotate=(angle / 15 + 1) / 2), images)
    height, width = shape[1:]
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # In normalised coordinates x, y; scipy's are rows, columns in pixels.
    matrix = np.array([[cosine, sine * height / width], [-sine * width / height, cosine]])
    centre = (np.array([height, width]) - 1) / 2
    for found, image in zip(turned.flatten(0, 1), images.flatten(0, 1), strict=True):
        expected = scipy.ndimage.affine_transform(
            image.numpy(), matrix, centre - matrix @ centre, order=1, mode="grid-constant"
        )
        assert found.numpy() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("across", "down"), [(0.0, 0.999), (0.7, 0.1)])
def test_a_scaling_is_scipys(shape, across, down):
    images = some_images(shape)
    scaled = of("scale", numbers_with(across=across, down=down), images)
    low, span = 1 / 1.2, 1.2 - 1 / 1.2
    factors = np.array([low + down * span, low + across * span])
    centre = (np.array(shape[1:]) - 1) / 2
    for found, image in zip(scaled.flatten(0, 1), images.flatten(0, 1), strict=True):
        expected = scipy.ndimage.affine_transform(
            image.numpy(), factors, centre - factors * centre, order=1, mode="grid-constant"
        )
        assert found.numpy() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_affine_maps_and_their_gradients_are_those_of_grid_sample(shape):
    images = some_images(shape).requires_grad_()
    generator = torch.Generator().manual_seed(1)
    matrices = torch.eye(2) + 0.4 * torch.randn(6, 2, 2, generator=generator, dtype=torch.float64)
    padded = torch.cat([matrices, torch.zeros(6, 2, 1, dtype=torch.float64)], dim=2)
    grid = functional.affine_grid(padded, list(images.shape), align_corners=False)
    expected = functional.grid_sample(images, grid, align_corners=False)
    found = affine(images, matrices)
    assert found.detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-9)
    weights = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((one * weights).sum(), images)[0] for one in (found, expected)]
    assert gradients[0].numpy() == pytest.approx(gradients[1].numpy(), abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("down", "right"), [(0.0, 0.999), (0.2, 0.5)])
def test_a_crop_moves_the_image_by_whole_pixels(shape, down, right):
    images = some_images(shape)
    found = of("crop", numbers_with(crop_down=down, crop_right=right), images).numpy()
    most = [int(side * 0.125 + 0.5) for side in shape[1:]]
    shift = [
        int(number * (2 * one + 1)) - one for number, one in zip((down, right), most, strict=True)
    ]
    expected = scipy.ndimage.shift(images.numpy(), (0, 0, -shift[0], -shift[1]), order=0)
    assert np.array_equal(found, expected)
    assert max(abs(one) for one in shift) <= max(most)


@given(down=st.floats(0, 0.9999), right=st.floats(0, 0.9999), side=st.integers(8, 20))
def test_a_cutout_is_one_rectangle_of_zeros_of_half_the_sides(down, right, side):
    images = torch.ones(1, 2, side, side + 3)
    found = of("cutout", numbers_with(cutout_down=down, cutout_right=right), images)[0]
    hole = found[0] == 0
    assert found[0].equal(found[1])
    rows, columns = hole.any(1).nonzero().flatten(), hole.any(0).nonzero().flatten()
    assert int(hole.sum()) == len(rows) * len(columns)
    for places, length in ((rows, side), (columns, side + 3)):
        size = int(length * 0.5 + 0.5)
        reaches_an_edge = int(places[0]) == 0 or int(places[-1]) == length - 1
        assert len(places) == int(places[-1] - places[0]) + 1
        assert size // 2 <= len(places) <= size
        assert len(places) == size or reaches_an_edge


def test_color_changes_brightness_then_saturation_then_contrast():
    images = some_images((3, 6, 6))
    found = of("color", numbers_with(brightness=0.9, saturation=0.2, contrast=0.7), images)
    expected = images.numpy() + 0.4
    grey = expected.mean(1, keepdims=True)
    expected = grey + 0.4 * (expected - grey)
    mean = expected.mean((1, 2, 3), keepdims=True)
    assert found.numpy() == pytest.approx(mean + 1.2 * (expected - mean))


def test_images_with_one_draw_get_one_augmentation_in_any_company():
    """Siamese: real and synthetic batches of a class share its draw, whatever else is there."""
    augmentation = SiameseAugmentation()
    draws = augmentation.draw(12, torch.Generator().manual_seed(0))
    assert len(set(draws.operation.tolist())) > 3
    image = some_images((3, 8, 8), count=1)
    others = some_images((3, 8, 8), count=12, seed=5)
    for one in range(12):
        alone = augmentation.apply(image, draws.take(torch.tensor([one])))
        batch = torch.cat([others, image, image])
        owner = torch.cat([torch.arange(12), torch.tensor([one, one])])
        together = augmentation.apply(batch, draws.take(owner))
        assert together[12].equal(alone[0])
        assert together[13].equal(alone[0])


@pytest.mark.parametrize("mode", ["single", "multiple"])
def test_a_mixed_batch_is_its_images_one_by_one(mode):
    augmentation = SiameseAugmentation(mode=mode)
    images = some_images((3, 10, 8), count=20)
    draws = augmentation.draw(20, torch.Generator().manual_seed(3))
    together = augmentation.apply(images, draws)
    for number in range(20):
        index = torch.tensor([number])
        alone = augmentation.apply(images[index], draws.take(index))
        assert together[number].numpy() == pytest.approx(alone[0].numpy(), abs=1e-12)


def test_the_mode_multiple_applies_all_operations_in_their_order():
    augmentation = SiameseAugmentation(("cutout", "crop", "flip"), mode="multiple")
    images = some_images((3, 8, 8))
    draws = augmentation.draw(6, torch.Generator().manual_seed(0))
    expected = images
    for name in ("cutout", "crop", "flip"):
        expected = SiameseAugmentation((name,)).apply(
            expected, Draws(torch.zeros(6, dtype=torch.int64), draws.numbers)
        )
    assert augmentation.apply(images, draws).equal(expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_those_of_finite_differences(name):
    augmentation = SiameseAugmentation((name,))
    images = some_images((3, 5, 5), count=2).requires_grad_()
    draws = augmentation.draw(2, torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda x: augmentation.apply(x, draws), images)


def test_gradients_of_a_mixed_batch_are_the_same_bytes_every_time():
    augmentation = SiameseAugmentation()
    images = some_images((3, 16, 16), count=64).float().requires_grad_()
    draws = augmentation.draw(64, torch.Generator().manual_seed(0))
    with deterministic():
        first, again = (
            torch.autograd.grad(augmentation.apply(images, draws).square().sum(), images)[0]
            for _ in range(2)
        )
    assert first.equal(again)
    assert first.abs().amax((1, 2, 3)).min() > 0


def test_draws_follow_the_generator_and_leave_the_global_one_alone():
    augmentation = SiameseAugmentation()
    before = torch.get_rng_state()
    first, again, other = (
        augmentation.draw(40, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.get_rng_state().equal(before)
    assert first.operation.equal(again.operation)
    assert first.numbers.equal(again.numbers)
    assert not first.numbers.equal(other.numbers)


def test_every_operation_is_drawn_about_equally_often():
    draws = SiameseAugmentation().draw(6000, torch.Generator().manual_seed(0))
    counts = torch.bincount(draws.operation, minlength=6)
    assert counts.min() > 850  # five standard deviations below 1000
    assert counts.max() < 1150


def test_one_operation_for_a_batch_keeps_parameters_of_their_own():
    draws = SiameseAugmentation().draw(30, torch.Generator().manual_seed(0), one_operation=True)
    assert len(set(draws.operation.tolist())) == 1
    assert len(set(draws.numbers[:, 0].tolist())) == 30


def test_what_cannot_be_applied_is_refused():
    with pytest.raises(ValueError, match="shear"):
        SiameseAugmentation(("flip", "shear"))
    with pytest.raises(ValueError, match="choose one or more"):
        SiameseAugmentation(())
    augmentation = SiameseAugmentation()
    with pytest.raises(ValueError, match="3 draws for 2 images"):
        augmentation.apply(torch.zeros(2, 3, 8, 8), augmentation.draw(3, torch.Generator()))


@pytest.mark.gpu
def test_a_gpu_gives_the_cpus_images_and_the_same_gradients_every_time():
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    augmentation = SiameseAugmentation()
    images = some_images((3, 32, 32), count=64).float()
    draws = augmentation.draw(64, torch.Generator().manual_seed(0))
    there = images.cuda().requires_grad_()
    with deterministic():
        found = augmentation.apply(there, draws)
        first, again = (
            torch.autograd.grad(augmentation.apply(there, draws).square().sum(), there)[0]
            for _ in range(2)
        )
    expected = augmentation.apply(images, draws)
    assert found.detach().cpu().numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    assert first.equal(again)
