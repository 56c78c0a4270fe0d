"""Convolutions of maps that are smaller than their kernel, as dense layers, for inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ROWS = 256
"""Images a product, zeros among them: its roundings depend on their number."""
_LARGEST = 2**24
"""Numbers of a dense layer that is worth its memory."""


class SmallMaps(TorchFunctionMode):
    """Within it, convolutions whose kernel has more places than their map are dense layers.

    Such a kernel lies mostly on the border, whose zeros a convolution multiplies as well: a 3 x 3
    kernel over one place has nine times the products it needs. ResNet-18 of ImageNet's stem has
    maps of 2 x 2 and 1 x 1 for images of 32 x 32. The results differ by roundings, and an image's
    do not depend on the batch it stands in. On a processor, without autocast and without
    gradients; everything else is torch's own, and so are kernels that are no parameters, whose
    dense layers could not be kept, and those whose layers would be large.

    It is the counterpart of :mod:`bench.models.convolutions`, whose products serve training in
    bf16 and only the project's own networks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._dense: dict[tuple[nn.Parameter, tuple[int, ...]], Tensor] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what a function of torch returns."""
        if func is torch.conv2d and not kwargs and len(args) == 7 and _is_small(*args):
            return self._product(*args[:5])
        return func(*args, **(kwargs or {}))

    def _product(
        self,
        images: Tensor,
        weight: nn.Parameter,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        """Return the maps [B, O, H', W'], channels last."""
        sizes = (*images.shape[2:], *_places(images, weight, stride, padding))
        key = weight, (*sizes, *stride, *padding)
        if key not in self._dense:
            self._dense[key] = _dense(weight, sizes, stride, padding)
        rows = images.permute(0, 2, 3, 1).reshape(len(images), -1)
        padded = functional.pad(rows, (0, 0, 0, -len(rows) % _ROWS))
        made = torch.cat([part @ self._dense[key] for part in torch.split(padded, _ROWS)])
        maps = made[: len(rows)].view(len(rows), *sizes[2:], len(weight))
        if bias is not None:
            maps = maps + bias
        return maps.permute(0, 3, 1, 2)


def _is_small(
    images: Tensor,
    weight: Tensor,
    _bias: Tensor | None,
    stride: object,
    padding: object,
    dilation: object,
    groups: int,
) -> bool:
    """Return whether a convolution has fewer products as a dense layer."""
    if (
        images.device.type != "cpu"
        or torch.is_grad_enabled()
        or torch.is_autocast_enabled("cpu")
        or not isinstance(weight, nn.Parameter)
        or not all(isinstance(one, tuple) and len(one) == 2 for one in (stride, padding))
        or (dilation, groups) != ((1, 1), 1)
        or images.dim() != 4
        or not len(images)
        or images.shape[2:].numel() >= weight.shape[2:].numel()
    ):
        return False
    places = _places(images, weight, stride, padding)  # type: ignore[arg-type]
    numbers = images.shape[1:].numel() * len(weight) * places[0] * places[1]
    return min(places) > 0 and numbers <= _LARGEST


def _places(
    images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> tuple[int, int]:
    """Return the sides of the next map; 0 or less where the kernel does not fit."""
    high, wide = (
        (side + 2 * border - kernel) // step + 1
        for side, border, kernel, step in zip(
            images.shape[2:], padding, weight.shape[2:], stride, strict=True
        )
    )
    return high, wide


def _dense(
    weight: Tensor,
    sizes: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Tensor:
    """Return the weights from all places of a map to all of the next, [H * W * C, H' * W' * O]."""
    outputs, channels, *kernel = weight.shape
    # By outputs first, as the weights lie in memory: transposing them cost more than the product.
    dense = weight.new_zeros(*sizes[2:], outputs, *sizes[:2], channels)
    for y, x, row, column in torch.cartesian_prod(*map(torch.arange, sizes)).tolist():
        tap = y + padding[0] - row * stride[0], x + padding[1] - column * stride[1]
        if 0 <= tap[0] < kernel[0] and 0 <= tap[1] < kernel[1]:
            dense[row, column, :, y, x] = weight[:, :, tap[0], tap[1]]
    return dense.flatten(3).flatten(0, 2).T
