"""Texture level against OpenCV and against a plain float64 evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.parts.texture import texture_level


def gray(image):
    image = image.astype(np.float64) / 255
    return image[..., 0] if image.shape[2] == 1 else image @ np.array([0.299, 0.587, 0.114])


def patches(image, size):
    """The full patches of one image; a dimension shorter than a patch is used whole."""
    h, w = min(size, image.shape[0]), min(size, image.shape[1])
    for y in range(0, image.shape[0] - h + 1, h):
        for x in range(0, image.shape[1] - w + 1, w):
            yield image[y : y + h, x : x + w]


def plain_level(image, size=32):
    """Sobel by definition, pixel by pixel of the kernel."""
    levels = []
    for patch in patches(image, size):
        g = gray(patch)
        h, w = g.shape
        rows = [0, *range(h), 0] if h == 1 else [1, *range(h), h - 2]
        cols = [0, *range(w), 0] if w == 1 else [1, *range(w), w - 2]
        p = g[np.ix_(rows, cols)]
        kernel = np.outer([1, 2, 1], [-1, 0, 1])
        dx, dy = np.zeros((h, w)), np.zeros((h, w))
        for i in range(3):
            for j in range(3):
                dx += kernel[i, j] * p[i : i + h, j : j + w]
                dy += kernel[j, i] * p[i : i + h, j : j + w]
        levels.append((0.5 * np.abs(dx) + 0.5 * np.abs(dy)).mean())
    return np.mean(levels)


def opencv_level(cv2, image, size=32):
    levels = []
    for patch in patches(image, size):
        g = gray(patch)
        dx = cv2.Sobel(g, cv2.CV_64F, 1, 0, ksize=3).reshape(g.shape)
        dy = cv2.Sobel(g, cv2.CV_64F, 0, 1, ksize=3).reshape(g.shape)
        levels.append(cv2.addWeighted(np.abs(dx), 0.5, np.abs(dy), 0.5, 0).mean())
    return np.mean(levels)


def random_images(n, h, w, c, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), dtype=np.uint8)


SHAPES = [(32, 32), (28, 28), (8, 31), (1, 9), (9, 1), (1, 1), (2, 2), (2, 5), (3, 3)]
LARGE = [(64, 96), (70, 33), (32, 65), (20, 100), (100, 2)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("h", "w"), SHAPES + LARGE)
def test_levels_equal_the_plain_reference(h, w, channels):
    images = random_images(5, h, w, channels)
    expected = [plain_level(image) for image in images]
    np.testing.assert_allclose(texture_level(images), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("h", "w"), SHAPES + LARGE)
def test_levels_equal_opencv(h, w, channels):
    cv2 = pytest.importorskip("cv2")
    images = random_images(5, h, w, channels)
    expected = [opencv_level(cv2, image) for image in images]
    np.testing.assert_allclose(texture_level(images), expected, rtol=1e-12, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.integers(1, 45),
    st.integers(0, 99),
)
def test_any_size_and_patch(h, w, channels, patch, seed):
    images = random_images(2, h, w, channels, seed)
    expected = [plain_level(image, patch) for image in images]
    got = texture_level(images, patch)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


def test_a_level_does_not_depend_on_the_other_images():
    images = random_images(150, 32, 32, 3)  # several blocks, the last one not full
    together = texture_level(images)
    alone = [texture_level(images[i : i + 1])[0] for i in range(150)]
    assert together.tolist() == alone


def test_extreme_images_are_exact():
    flat = np.full((1, 32, 32, 3), 255, np.uint8)
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, :, 2::4] = stripes[:, :, 3::4] = 255  # pairs of columns: |dx| is 4 off the border
    assert texture_level(flat).tolist() == [0.0]
    assert texture_level(stripes).tolist() == [0.5 * 4 * 30 / 32]


def test_a_large_patch_does_not_overflow():
    stripes = np.zeros((1, 600, 2000, 1), np.uint8)
    stripes[:, :, 2::4] = stripes[:, :, 3::4] = 255
    assert texture_level(stripes, 2000).tolist() == [0.5 * 4 * 1998 / 2000]


def test_views_of_any_stride_are_taken():
    images = random_images(6, 40, 40, 3)
    turned = images.transpose(0, 2, 1, 3)[::2, ::-1]
    expected = texture_level(np.ascontiguousarray(turned))
    assert texture_level(turned).tolist() == expected.tolist()


def test_no_images():
    levels = texture_level(np.empty((0, 32, 32, 3), np.uint8))
    assert levels.shape == (0,)
    assert levels.dtype == np.float64


@pytest.mark.parametrize(
    ("images", "patch", "message"),
    [
        (np.zeros((2, 4, 4, 3)), 32, r"images: float64 \[2, 4, 4, 3\]; allowed: uint8"),
        (np.zeros((4, 4, 3), np.uint8), 32, r"images: uint8 \[4, 4, 3\]; allowed"),
        (np.zeros((2, 4, 4, 4), np.uint8), 32, r"images: uint8 \[2, 4, 4, 4\]; allowed"),
        (np.zeros((2, 0, 4, 3), np.uint8), 32, "images: 0 x 4 pixels; allowed"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, "patch: 0; allowed: 1 or more"),
    ],
)
def test_errors_name_the_value_and_what_is_allowed(images, patch, message):
    with pytest.raises(ValueError, match=message):
        texture_level(images, patch)
