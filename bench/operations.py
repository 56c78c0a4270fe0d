"""Operations: what a network has to compute for one image, counted and not timed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from bench.models import Model, Shape

TRAINING_FACTOR = 3
"""A training step costs the forward pass and about two more for the gradients."""


@cache
def operations_per_image(model: Model, shape: Shape, classes: int) -> int:
    """Return the floating-point operations of one image's forward pass.

    A multiplication with its addition counts as two; only convolutions, matrix products and
    attention are counted, as in the literature (ResNet-18 at 32 x 32: 0.56 G multiply-adds).

    Parameters
    ----------
    model : Model
        Built with random weights, so that nothing is fetched.
    shape : tuple of int
        Height, width and channels of an image.
    classes : int
        Outputs of the last layer.
    """
    with torch.random.fork_rng(devices=[]):
        network = model.untrained().build(shape, classes).eval()
    height, width, channels = shape
    with torch.inference_mode(), _Counter() as counter:
        network(torch.zeros(1, channels, height, width))
    return int(counter.total)


class _Counter(TorchFunctionMode):
    """Adds up what the called functions compute.

    torch's FlopCounterMode does the same below autograd; its first count in a process takes
    2.6 s, longer than a small network's training. The tests compare the two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__
        if name == "conv2d":
            weight = args[1]
            self.total += 2 * result.numel() * weight[0].numel()
        elif name in ("linear", "matmul", "bmm", "__matmul__"):
            self.total += 2 * result.numel() * args[0].shape[-1]
        elif name == "scaled_dot_product_attention":
            query, key, value = args[:3]
            scores = query.shape[:-1].numel() * key.shape[-2]
            self.total += 2 * scores * (query.shape[-1] + value.shape[-1])
        return result
