"""Gradients of the loss by the last layer's weights, kept as their two factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.arrays import Float32Array


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
