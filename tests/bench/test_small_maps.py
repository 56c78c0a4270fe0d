"""Convolutions of maps smaller than their kernel, as dense layers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.models.small_maps import SmallMaps

sides = st.integers(1, 4)


class Counting(SmallMaps):
    """Counts the dense layers that are used."""

    products = 0

    def _product(self, *args):
        self.products += 1
        return super()._product(*args)


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(sides, sides),
    kernel=st.tuples(sides, sides),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    has_bias=st.booleans(),
)
def test_it_computes_the_convolution(size, kernel, stride, padding, has_bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, kernel, stride, padding, bias=has_bias)
    images = torch.randn(4, 3, *size)
    if any(s + 2 * p < k for s, p, k in zip(size, padding, kernel, strict=True)):
        with (
            torch.inference_mode(), SmallMaps(), pytest.raises(RuntimeError, match="Kernel size")
        ):  # fmt: skip
            layer(images)
        return
    with torch.inference_mode():
        expected = layer.double()(images.double())
        layer.float()
        with Counting() as mode:
            got, again = layer(images), layer(images)
    assert mode.products == 2 * (size[0] * size[1] < kernel[0] * kernel[1])
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(got, again)


SMALL = torch.ones(2, 4, 2, 2)


@pytest.mark.parametrize(
    ("layer", "images"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), torch.ones(2, 4, 3, 3)),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), SMALL),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2), SMALL),
        (nn.Conv2d(4, 4, 3, padding="same"), SMALL),
        (nn.Conv2d(4, 4, 3, padding=1), SMALL[0]),
        (nn.Conv2d(4, 4, 3, padding=1), SMALL[:0]),
        (nn.Conv2d(512, 512, 5, padding=2), torch.ones(1, 512, 4, 4)),
    ],
    ids=[
        "a map as large",
        "groups",
        "dilation",
        "named padding",
        "one image",
        "no image",
        "a large layer",
    ],
)
def test_other_convolutions_stay_as_they_are(layer, images):
    with torch.inference_mode(), Counting() as mode:
        got = layer(images)
    assert mode.products == 0
    with torch.inference_mode():
        assert torch.equal(got, layer(images))


def test_nothing_that_is_trained_or_made_in_halves_changes():
    layer = nn.Conv2d(4, 4, 3, padding=1)
    with Counting() as mode:
        layer(SMALL).sum().backward()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), mode:
        layer(SMALL)
    assert mode.products == 0
    assert layer.weight.grad.abs().sum() > 0


def test_a_kernel_that_is_made_anew_every_time_is_not_kept():
    layer = nn.Conv2d(4, 4, 3, padding=1)
    with torch.inference_mode(), Counting() as mode:
        torch.nn.functional.conv2d(SMALL, layer.weight * 2, None, (1, 1), (1, 1), (1, 1), 1)
    assert mode.products == 0


def test_numbers_for_both_sides_are_torchs():
    layer = nn.Conv2d(4, 4, 3, padding=1)
    with torch.inference_mode(), Counting() as mode:
        got = torch.nn.functional.conv2d(SMALL, layer.weight, layer.bias, 1, 1, 1, 1)
        assert torch.equal(got, torch.nn.functional.conv2d(SMALL, layer.weight, layer.bias, 1, 1))
    assert mode.products == 0


@pytest.mark.parametrize("count", [1, 2, 7, 16, 100, 249])
def test_an_image_gives_the_same_in_every_batch(count):
    torch.manual_seed(0)
    layer = nn.Conv2d(512, 512, 3, padding=1)
    images = torch.randn(600, 512, 2, 2)
    with torch.inference_mode(), SmallMaps():
        together = layer(images)
        assert torch.equal(layer(images[-count:]), together[-count:])
