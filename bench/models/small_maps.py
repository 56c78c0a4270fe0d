"""Convolutions of maps that are smaller than their kernel, as dense layers, for inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class SmallMaps(TorchFunctionMode):
    """Within it, convolutions whose kernel has more places than their map are dense layers.

    Such a kernel lies mostly on the border, whose zeros a convolution multiplies as well: a 3 x 3
    kernel over one place has nine times the products it needs. ResNet-18 of ImageNet's stem has
    maps of 2 x 2 and 1 x 1 for images of 32 x 32. The results differ by roundings. On a processor,
    without autocast and without gradients; everything else is torch's own, and so are kernels
    that are no parameters, whose dense layers could not be kept.
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
        height, width = images.shape[2:]
        high, wide = (
            (side + 2 * border - kernel) // step + 1
            for side, border, kernel, step in zip(
                (height, width), padding, weight.shape[2:], stride, strict=True
            )
        )
        key = weight, (height, width, *stride, *padding)
        if key not in self._dense:
            self._dense[key] = _dense(weight, (height, width, high, wide), stride, padding)
        rows = images.permute(0, 2, 3, 1).reshape(len(images), -1)
        made = (rows @ self._dense[key]).view(len(images), high, wide, len(weight))
        if bias is not None:
            made += bias
        return made.permute(0, 3, 1, 2)


def _is_small(
    images: Tensor,
    weight: Tensor,
    _bias: Tensor | None,
    _stride: tuple[int, int],
    padding: tuple[int, int] | str,
    dilation: tuple[int, int],
    groups: int,
) -> bool:
    """Return whether a convolution has fewer products as a dense layer."""
    return (
        images.device.type == "cpu"
        and images.dim() == 4
        and images.shape[2:].numel() < weight.shape[2:].numel()
        and isinstance(weight, nn.Parameter)
        and not isinstance(padding, str)
        and tuple(dilation) == (1, 1)
        and groups == 1
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def _dense(
    weight: Tensor,
    sizes: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Tensor:
    """Return the weights from all places of a map to all of the next, [H * W * C, H' * W' * O]."""
    outputs, channels, *kernel = weight.shape
    taps = weight.permute(2, 3, 1, 0).contiguous()
    dense = weight.new_zeros(*sizes[:2], channels, *sizes[2:], outputs)
    for y, x, row, column in torch.cartesian_prod(*map(torch.arange, sizes)).tolist():
        tap = y + padding[0] - row * stride[0], x + padding[1] - column * stride[1]
        if 0 <= tap[0] < kernel[0] and 0 <= tap[1] < kernel[1]:
            dense[y, x, :, row, column] = taps[tap]
    return dense.flatten(3).flatten(0, 2)
