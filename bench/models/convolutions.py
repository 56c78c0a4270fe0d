"""Convolutions, and which of them go over their maps place by place because that is faster."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.precision import bf16_units

_LARGEST_SIDE = 8
"""Of a map that is made place by place."""
_FEWEST_PAIRS = 2**15
"""Of input and output channels."""
_LARGEST_PRODUCT = 4
"""Side of a map whose gradient by the weights is made of products; oneDNN's is as fast at 7. That
of images narrower than the kernel is too, whatever their other side: in bf16 oneDNN leaves a part
of it unwritten, and writes beyond its memory (torch 2.15)."""
_BLOCK = 16
"""Channels that oneDNN takes together with AVX-512. Of fewer, its gradient by the weights of a
convolution with a stride and a kernel of one place writes beyond its memory over large maps
(torch 2.15): the process dies at 128 pixels and not at 64."""


def places(side: int, stride: int) -> int:
    """Return how many places a convolution makes along a side, padded by half its kernel."""
    return (side - 1) // stride + 1


def goes_by_place(images: Tensor, weight: Tensor, stride: int) -> bool:
    """Return whether a convolution goes over its maps place by place.

    A rule and no measurement, so that the same network on the same machine always computes the
    same. It is bf16's on a processor with AMX or AVX-512's bf16: oneDNN's convolutions go along
    the rows of a map, and reading the weights anew for short rows leaves the units idle
    (docs/performance.md).

    Parameters
    ----------
    images : [B, C, H, W]
        What it reads; of B it matters only that there are any.
    weight : [O, C, K, K]
        Its weights.
    stride : int
        Places between its windows.
    """
    return (
        images.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and len(images) > 0
        and max(places(side, stride) for side in images.shape[2:]) <= _LARGEST_SIDE
        and weight.shape[0] * weight.shape[1] >= _FEWEST_PAIRS
        and _gains()
    )


class Convolution(nn.Conv2d):
    """A convolution without bias that pads by half its kernel, whose side is odd.

    Over small maps it goes place by place where :func:`goes_by_place` says so, with the same
    result but for roundings; everywhere else torch's own. A stride over places of few channels is
    taken by leaving out places first, which is the same again.
    """

    went_by_place = False
    """Whether it went over the last batch place by place."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps."""
        stride = self.stride[0]
        self.went_by_place = goes_by_place(images, self.weight, stride)
        if self.went_by_place:
            half = torch.bfloat16
            return by_place(images.to(half), self.weight.to(half), stride)
        if stride > 1 and images.device.type == "cpu":
            if self.kernel_size == (1, 1) and self.in_channels < _BLOCK:
                return functional.conv2d(images[:, :, ::stride, ::stride], self.weight)
            if images.shape[3] == 1:
                # Along one place a stride changes nothing, but in bf16 oneDNN's gradient by the
                # weights is partly unwritten memory (torch 2.15).
                return functional.conv2d(images, self.weight, None, (stride, 1), self.padding)
        return super().forward(images)


def gone_by_place(network: nn.Module) -> int:
    """Return how many convolutions of a network went over its last batch place by place."""
    return sum(isinstance(one, Convolution) and one.went_by_place for one in network.modules())


def by_place(images: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the maps [B, O, H', W'] of a convolution, place by place, channels last.

    As :class:`Convolution`, of any floating type and at least one image.
    """
    if weight.shape[-1] > 1:
        maps: Tensor = ByPlace.apply(images, weight, stride)
        return maps
    read = images.permute(0, 2, 3, 1)[:, ::stride, ::stride]
    made = read.reshape(-1, read.shape[-1]) @ weight.permute(0, 2, 3, 1).flatten(1).t()
    return made.view(*read.shape[:3], len(weight)).permute(0, 3, 1, 2)


class ByPlace(torch.autograd.Function):
    """A convolution of images that lie place by place: each place of all images side by side.

    To oneDNN they are one image of three dimensions, H x W x B, under a kernel K x K x 1. Its rows
    are as long as the batch, where those of a small map are too short for its units; along them
    there is no border, and what the kernel meets beyond the other sides is left out.
    """

    generate_vmap_rule = True  # for gradients of single images by torch.func

    @staticmethod
    def forward(images: Tensor, weight: Tensor, stride: int) -> Tensor:
        """Return the maps [B, O, H', W'], channels last."""
        half = weight.shape[-1] // 2
        strides, padding = (stride, stride, 1), (half, half, 0)
        volume = _volume(_placed(images))
        return _maps(torch.conv3d(volume, weight.unsqueeze(-1), None, strides, padding))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        """Keep what the gradients are made of."""
        images, weight, ctx.stride = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, owed: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of images and weights."""
        images, weight = ctx.saved_tensors
        needs_images, needs_weight, _ = ctx.needs_input_grad
        is_narrow = min(images.shape[2:]) < weight.shape[-1]
        is_product = is_narrow or max(owed.shape[2:]) <= _LARGEST_PRODUCT
        placed, placed_images = _placed(owed), _placed(images)
        half, stride = weight.shape[-1] // 2, ctx.stride
        by_images, by_weight, _ = torch.ops.aten.convolution_backward(
            _volume(placed), _volume(placed_images), weight.unsqueeze(-1), None,
            (stride, stride, 1), (half, half, 0), (1, 1, 1), False, (0, 0, 0), 1,
            (needs_images, needs_weight and not is_product, False),
        )  # fmt: skip
        if needs_weight and is_product:
            by_weight = _by_weight(placed, placed_images, weight.shape[-1], stride)
        elif needs_weight:
            by_weight = by_weight.squeeze(-1)
        return _maps(by_images) if needs_images else None, by_weight, None


def _placed(maps: Tensor) -> Tensor:
    """Return maps [B, C, H, W] place by place, [H, W, B, C]."""
    return maps.permute(2, 3, 0, 1).contiguous()


def _volume(placed: Tensor) -> Tensor:
    """Return what lies place by place as one image of three dimensions, [1, C, H, W, B]."""
    return placed.unsqueeze(0).permute(0, 4, 1, 2, 3)


def _maps(volume: Tensor) -> Tensor:
    """Return an image of three dimensions [1, C, H, W, B] as maps [B, C, H, W], channels last."""
    return volume[0].permute(3, 1, 2, 0).contiguous().permute(0, 3, 1, 2)


def _by_weight(owed: Tensor, images: Tensor, kernel: int, stride: int) -> Tensor:
    """Return the gradient of the weights [O, C, K, K], each place of the kernel one product.

    ``owed`` [H', W', B, O] and ``images`` [H, W, B, C] lie place by place.
    """
    outputs, channels = owed.shape[-1], images.shape[-1]
    made = owed.new_empty((outputs, kernel, kernel, channels))
    rows, columns = (_met(side, kernel, stride) for side in images.shape[:2])
    for column, (wide, narrow) in enumerate(columns):
        some, others = owed[:, wide].contiguous(), images[:, narrow].contiguous()
        for row, (high, low) in enumerate(rows):
            left, right = some[high].reshape(-1, outputs), others[low].reshape(-1, channels)
            made[:, row, column] = left.t() @ right
    return made.permute(0, 3, 1, 2)


@cache
def _met(side: int, kernel: int, stride: int) -> tuple[tuple[slice, slice], ...]:
    """Return for each place of a kernel the places made along a side, and what they read by it.

    The place ``p`` that is made reads the place ``q = stride p + k - kernel // 2`` by the place
    ``k`` of the kernel, where ``q`` is in the map.
    """
    found = []
    for place in range(kernel):
        shift = place - kernel // 2
        begin = max(0, -(shift // stride))
        end = max(begin, min(places(side, stride), (side - 1 - shift) // stride + 1))
        read = slice(begin * stride + shift, max(0, end * stride + shift), stride)
        found.append((slice(begin, end), read if end > begin else slice(0)))
    return tuple(found)


@cache
def _gains() -> bool:
    """Return whether the processor has units for bf16, which long rows use better."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(bf16_units())
