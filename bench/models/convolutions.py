"""Convolutions, and which of them are products of matrices because that is faster."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.precision import bf16_units

_LARGEST_SIDE = 4
"""Of a map that is made by a product. From 5 on the gain depends on the channels; 8 has none."""
_BLOCK = 16
"""Channels that oneDNN takes together with AVX-512. Of fewer, its gradient by the weights of a
convolution with a stride and a kernel of one place writes beyond its memory over large maps
(torch 2.15): the process dies at 128 pixels and not at 64."""
_FEWEST_PAIRS = 2**17
"""Of input and output channels. oneDNN is faster at 128 x 128, and forward at 256 x 256."""


def is_product(images: Tensor, weight: Tensor, stride: int) -> bool:
    """Return whether a convolution is made as a product of matrices.

    A rule and no measurement, so that the same network on the same machine always computes the
    same. It is bf16's on a processor with AMX or AVX-512's bf16: oneDNN's convolutions go along
    the rows of a map, and reading the weights anew for rows of four leaves the units idle
    (docs/performance.md).

    Parameters
    ----------
    images : [B, C, H, W]
        What it reads; B does not matter.
    weight : [O, C, K, K]
        Its weights.
    stride : int
        Places between its windows.
    """
    return (
        images.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and max(_places(side, stride) for side in images.shape[2:]) <= _LARGEST_SIDE
        and weight.shape[0] * weight.shape[1] >= _FEWEST_PAIRS
        and _gains()
    )


class Convolution(nn.Conv2d):
    """A convolution without bias that pads by half its kernel, whose side is odd.

    Over small maps it is a product where :func:`is_product` says so, with the same result but for
    roundings; everywhere else torch's own. A stride over places of few channels is taken by
    leaving out places first, which is the same again.
    """

    was_product = False
    """Whether the last batch took a product."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps."""
        stride = self.stride[0]
        self.was_product = is_product(images, self.weight, stride)
        if not self.was_product:
            is_sparse = self.kernel_size == (1, 1) and stride > 1
            if is_sparse and images.device.type == "cpu" and self.in_channels < _BLOCK:
                return functional.conv2d(images[:, :, ::stride, ::stride], self.weight)
            return super().forward(images)
        half = torch.bfloat16
        maps: Tensor = Product.apply(images.to(half), self.weight.to(half), stride)
        return maps


def products(network: nn.Module) -> int:
    """Return how many convolutions of a network were products for its last batch."""
    return sum(isinstance(one, Convolution) and one.was_product for one in network.modules())


class Product(torch.autograd.Function):
    """A convolution as one product of the images' windows and the weights.

    As :class:`Convolution`, of any floating type. Windows are made anew for the gradients: kept,
    they would be K * K times the images.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        """Return the maps [B, O, H', W'], channels last."""
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        height, width = (_places(side, stride) for side in images.shape[2:])
        made = _windows(images, weight.shape[-1], stride) @ _matrix(weight).t()
        return made.view(len(images), height, width, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, owed: Tensor) -> tuple[Tensor | None, Tensor, None]:
        """Return the gradients of images and weights."""
        images, weight = ctx.saved_tensors
        kernel, rows = weight.shape[-1], owed.permute(0, 2, 3, 1).reshape(-1, len(weight))
        # Transposed beforehand: oneDNN's product of a transposed matrix takes half as long again.
        by_weights = rows.t().contiguous() @ _windows(images, kernel, ctx.stride)
        by_images = None
        if ctx.needs_input_grad[0]:
            by_images = _summed(rows @ _matrix(weight), images.shape, kernel, ctx.stride)
        shape = len(weight), kernel, kernel, images.shape[1]
        return by_images, by_weights.view(shape).permute(0, 3, 1, 2), None


def _places(side: int, stride: int) -> int:
    return (side - 1) // stride + 1


def _matrix(weight: Tensor) -> Tensor:
    """Return weights [O, C, K, K] as [O, K * K * C]."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _windows(images: Tensor, kernel: int, stride: int) -> Tensor:
    """Return what every place of the map sees, [B * H' * W', K * K * C]."""
    border, channels = kernel // 2, images.shape[1]
    padded = images.permute(0, 2, 3, 1)
    if border:  # by nothing it would be copied
        padded = functional.pad(padded, (0, 0, border, border, border, border))
    seen = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)
    return seen.permute(0, 1, 2, 4, 5, 3).reshape(-1, kernel * kernel * channels)


def _summed(windows: Tensor, shape: torch.Size, kernel: int, stride: int) -> Tensor:
    """Return images [B, C, H, W] of windows: each place the sum of all that saw it.

    Sums are of float32 at least, in a fixed order.
    """
    count, channels, height, width = shape
    if kernel == stride == 1:  # every place was seen once
        return windows.view(count, height, width, channels).permute(0, 3, 1, 2)
    high, wide = _places(height, stride), _places(width, stride)
    seen = windows.view(count, high, wide, kernel, kernel, channels)
    border, dtype = kernel // 2, windows.dtype
    if kernel > stride:  # else no place was seen twice
        dtype = torch.promote_types(dtype, torch.float32)
    sides = height + 2 * border, width + 2 * border
    padded = windows.new_zeros((count, *sides, channels), dtype=dtype)
    for row in range(kernel):
        for column in range(kernel):
            rows = slice(row, row + stride * high, stride)
            columns = slice(column, column + stride * wide, stride)
            padded[:, rows, columns] += seen[:, :, :, row, column]
    summed = padded[:, border : border + height, border : border + width]
    return summed.to(windows.dtype).permute(0, 3, 1, 2)


@cache
def _gains() -> bool:
    """Return whether the processor has units for bf16 that products were measured to use better."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(bf16_units())
