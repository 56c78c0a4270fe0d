"""Gradients of the loss by the last layer's weights: how they are made, kept as two factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from bench.arrays import Float32Array, FloatArray, IntArray

_BATCH = 250


@dataclass(frozen=True)
class Gradients:
    r"""The last layer's gradients of N images, never multiplied out.

    With the gradient :math:`p` by the logits and the penultimate features :math:`e`, the gradient
    by bias and weights is :math:`g = [p, p \otimes e]`, C (d + 1) numbers, and

    .. math:: \langle g_i, g_j \rangle = \langle p_i, p_j \rangle (1 + \langle e_i, e_j \rangle).

    Parameters
    ----------
    residuals : float32 [N, C]
        The gradients of each image's loss by its logits.
    features : float32 [N, d]
        The inputs of the last layer.

    Raises
    ------
    ValueError
        When a factor is no float32 matrix, has no columns, or they differ in N.

    Notes
    -----
    The layout is that of ``dq/methods/submodular.py:67-73`` (magic-research/Dataset_Quantization):
    the bias first, then the weights class by class.
    """

    residuals: Float32Array
    features: Float32Array

    def __post_init__(self) -> None:
        for name in ("residuals", "features"):
            array = getattr(self, name)
            if array.ndim != 2 or not array.shape[1] or array.dtype != np.float32:
                found = f"{array.dtype} {list(array.shape)}"
                raise ValueError(f"{name}: {found}; allowed: float32 [N, at least 1]")
        if len(self.residuals) != len(self.features):
            lengths = f"{len(self.residuals)} residuals, {len(self.features)} features"
            raise ValueError(f"{lengths}; allowed: one of each an image")

    def __len__(self) -> int:
        return len(self.residuals)

    @property
    def width(self) -> int:
        """How many numbers one gradient has, C (d + 1)."""
        width: int = self.residuals.shape[1] * (1 + self.features.shape[1])
        return width

    def subset(self, index: NDArray[Any] | slice) -> Gradients:
        """Return the gradients of some images, by position or mask."""
        return Gradients(self.residuals[index], self.features[index])

    def rows(self, index: NDArray[Any] | slice = slice(None)) -> Float32Array:
        """Return the gradients of some images multiplied out, float32 [n, C (d + 1)].

        Each entry is one float32 product, as in the released code.
        """
        residuals, features = self.residuals[index], self.features[index]
        n, classes = residuals.shape
        full = np.empty((n, classes * (1 + features.shape[1])), np.float32)
        full[:, :classes] = residuals
        weights = full[:, classes:].reshape(n, classes, -1)
        np.multiply(residuals[:, :, None], features[:, None, :], out=weights)
        return full


def fresh_head(width: int, classes: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Return a linear layer with torch's initial weights, drawn on the CPU from a seed."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head: Callable[[Tensor], Tensor] = nn.Linear(width, classes)
    return head


def logits_of(
    classify: Callable[[Tensor], Tensor], features: Float32Array, device: str
) -> Float32Array:
    """Return a last layer's logits for features [N, d], float32 [N, C], made on a device."""
    import torch

    with torch.inference_mode():
        blocks = [
            classify(torch.from_numpy(features[start : start + _BATCH]).to(device)).float().cpu()
            for start in range(0, len(features), _BATCH)
        ]
        logits: Float32Array = torch.cat(blocks).numpy()
    return logits


def loss_residuals(logits: Float32Array, labels: IntArray, loss: str) -> Float32Array:
    r"""Return the gradients of the images' losses by their logits, float32 [N, C].

    Parameters
    ----------
    logits : float32 [N, C]
        :math:`z`, with :math:`p = \mathrm{softmax}(z)`.
    labels : int64 [N]
        :math:`y`.
    loss : {"cross-entropy", "double-softmax"}
        The cross-entropy of the logits, whose gradient is :math:`p - e_y`, or that of the
        probabilities taken for logits (DQ's ``submodular.py:65``): with
        :math:`g = \mathrm{softmax}(p) - e_y` it is :math:`p (g - p \cdot g)`.

    Notes
    -----
    The released codes differentiate the mean over a batch, which divides the rows by the batch's
    size; cosines do not change.
    """
    rows = np.arange(len(labels))
    probabilities = _softmax(logits.astype(np.float64))
    if loss == "cross-entropy":
        probabilities[rows, labels] -= 1
        return probabilities.astype(np.float32)
    outer = _softmax(probabilities)
    outer[rows, labels] -= 1
    along = np.einsum("nc,nc->n", probabilities, outer)[:, None]
    residuals: Float32Array = (probabilities * (outer - along)).astype(np.float32)
    return residuals


def _softmax(logits: FloatArray) -> FloatArray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
