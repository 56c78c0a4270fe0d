"""Convolutions, and which of them are products of matrices because that is faster."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.reaches import Reach, backward, by_kernel, forward, places
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
        and max(places(side, stride) for side in images.shape[2:]) <= _LARGEST_SIDE
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
    """A convolution as products of what its places see and the weights, without the border.

    As :class:`Convolution`, of any floating type. Over 4 x 4 places a 3 x 3 kernel meets its own
    border in 44 of 144 cases: places that see the same part of it are one product, and so are both
    gradients' (:mod:`bench.models.reaches`). What they see is gathered anew for each gradient.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        """Return the maps [B, O, H', W'], channels last."""
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        sides, kernel, outputs = images.shape[2:], weight.permute(0, 2, 3, 1), len(weight)
        made = images.new_empty((len(images), *(places(side, stride) for side in sides), outputs))
        rows, columns = (forward(side, weight.shape[-1], stride) for side in sides)
        for row, column in itertools.product(rows, columns):
            high, wide = (slice(one.kernel.start, one.kernel.stop) for one in (row, column))
            part = kernel[:, high, wide].reshape(outputs, -1)
            _multiply(_seen(images, row, column), part.t(), made[:, row.made, column.made])
        return made.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, owed: Tensor) -> tuple[Tensor | None, Tensor, None]:
        """Return the gradients of images and weights."""
        images, weight = ctx.saved_tensors
        by_images = None
        if ctx.needs_input_grad[0]:
            by_images = _by_images(owed, weight, images.shape, ctx.stride)
        return by_images, _by_weights(owed, images, weight.shape[-1], ctx.stride), None


def _by_images(owed: Tensor, weight: Tensor, shape: torch.Size, stride: int) -> Tensor:
    """Return the gradient of the images [B, C, H, W]."""
    count, channels, *sides = shape
    kernel = weight.permute(2, 3, 0, 1)
    made = owed.new_zeros((count, *sides, channels))  # no place may have read some
    rows, columns = (backward(side, len(kernel), stride) for side in sides)
    for row, column in itertools.product(rows, columns):
        part = [kernel[place] for place in itertools.product(row.kernel, column.kernel)]
        _multiply(_seen(owed, row, column), torch.cat(part), made[:, row.made, column.made])
    return made.permute(0, 3, 1, 2)


def _by_weights(owed: Tensor, images: Tensor, kernel: int, stride: int) -> Tensor:
    """Return the gradient of the weights [O, C, K, K], each place of the kernel one product."""
    owed, images = (one.permute(2, 3, 0, 1).contiguous() for one in (owed, images))
    outputs, channels = owed.shape[3], images.shape[3]
    made = owed.new_empty((outputs, kernel, kernel, channels))
    rows, columns = (by_kernel(side, kernel, stride) for side in images.shape[:2])
    for (i, (high, low)), (j, (wide, narrow)) in itertools.product(
        *map(enumerate, (rows, columns))
    ):
        maps, seen = owed[high, wide].reshape(-1, outputs), images[low, narrow]
        _multiply(maps.t(), seen.reshape(-1, channels), made[:, i, j])
    return made.permute(0, 3, 1, 2)


def _seen(values: Tensor, row: Reach, column: Reach) -> Tensor:
    """Return what each place reads of the values [B, C, H, W], place by place of the kernel."""
    windows = values.permute(0, 2, 3, 1)[:, row.read, column.read]
    high, wide = len(row.kernel), len(column.kernel)
    windows = windows.unfold(1, high, row.step).unfold(2, wide, column.step)
    size = high * wide * values.shape[1]
    return windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, size)


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write a product to places of a map or a kernel, at once where these lie side by side."""
    if out.is_contiguous() and not torch.is_grad_enabled():  # a gradient's gradient needs copies
        torch.mm(left, right, out=out.view(len(left), out.shape[-1]))
    else:
        out.copy_((left @ right).view(out.shape))


@cache
def _gains() -> bool:
    """Return whether the processor has units for bf16 that products were measured to use better."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(bf16_units())
