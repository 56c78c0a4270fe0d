"""The points that GraphCut compares: exact in float64, and float32 factors of their products.

Both kernels come to inner products of points ``c`` and an offset ``b`` (`methods.parts.greedy`):
the cosine has unit rows and no offset, the squared distance rows less their mean and ``b = -|c|^2 /
2``. Gradients are not centred, which no pick depends on: each is the product of two short points
``p`` and ``[1, e]``, and stays that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from methods.parts import blas
from methods.parts.gradients import Gradients

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
Index: TypeAlias = NDArray[np.int64]
Some: TypeAlias = Index | slice

KERNELS = ("cosine", "sqeuclidean")
_BLOCK = 2**17  # float64 numbers at a time: they stay in the cache, and no second copy is made
_TAME = 60  # float64 numbers of lower exponents can be squared and rounded to float32


class Points(ABC):
    """A pool of n points.

    Attributes
    ----------
    factors : tuple of float32 or float64 [n, d_f]
        ``c(i) . c(j)`` is the product over the factors of ``f[i] . f[j]``.
    offset : float64 [n] or None
        ``b``; None where it is 0.
    scale : float
        The largest ``|c|^2``.
    """

    factors: tuple[NDArray[Any], ...]
    offset: F64 | None = None
    scale: float = 0.0

    def __init__(self, n: int, width: int) -> None:
        self.n, self.width = n, width

    @abstractmethod
    def total(self, some: Some) -> F64:
        """Return the sum over points, as `gains` takes it."""

    @abstractmethod
    def products(self, some: Some, w: F64) -> F64:
        """Return ``c(x) . w`` for points x and a linear combination w of points."""

    @property
    def spread(self) -> float:
        """The sum of the square roots of the factors' lengths."""
        return sum(float(np.sqrt(factor.shape[1])) for factor in self.factors)

    def blocks(self, n: int | None = None) -> Iterator[slice]:
        """Cut the pool, or n of it, into slices of a size that stays in the cache."""
        size, n = max(1, _BLOCK // self.width), self.n if n is None else n
        return (slice(i, min(i + size, n)) for i in range(0, n, size))

    def sum_all(self) -> F64:
        """Return the sum over the pool."""
        with blas.one_thread():  # a block is too small a product for several
            return sum(map(self.total, self.blocks()), start=np.zeros(()))

    def gains(self, some: Some, w: F64, weight: float) -> F64:
        """Return ``c(x) . w + weight * b(x)``."""
        gains = self.products(some, w)
        if self.offset is not None:
            gains += weight * self.offset[some]
        return gains

    def many_gains(self, some: Index, w: F64, weight: float) -> F64:
        """Return the gains of many points, ascending ones, without a second copy of them all."""
        blocks, all_of_them = self.blocks(len(some)), len(some) == self.n
        with blas.one_thread():  # a block is too small a product for several
            return np.concatenate(
                [self.gains(block if all_of_them else some[block], w, weight) for block in blocks]
            )


class VectorPoints(Points):
    """Points of plain vectors [n, d]."""

    def __init__(self, values: NDArray[Any], kernel: str) -> None:
        super().__init__(*values.shape)
        self._values = _tamed(values, by_row=kernel == "cosine")
        self._centre: F64 | None = None
        self._factor = np.ones(self.n)
        self._sum = np.zeros(self.width)
        rows: F32 = np.empty(values.shape, np.float32)
        self.factors = (rows,)
        if kernel == "sqeuclidean":
            self._centre_them()
            self.offset = np.empty(self.n)
        for block in self.blocks():
            points = self._unscaled(block)
            square = np.einsum("ij,ij->i", points, points)
            if self.offset is None:
                self._factor[block] = _inverse(np.sqrt(square))
                self.scale = 1.0
            else:
                square *= self._factor[block] ** 2
                self.offset[block] = -0.5 * square
                self.scale = max(self.scale, float(square.max()))
            factor = self._factor[block]
            self._sum += np.einsum("i,ij->j", factor, points)
            np.multiply(points, factor[:, None], out=rows[block], casting="same_kind")

    def sum_all(self) -> F64:
        """Return the sum over the pool, [d]."""
        return self._sum.copy()

    def total(self, some: Some) -> F64:
        """Return the sum over points, [d]."""
        total: F64 = np.einsum("i,ij->j", self._factor[some], self._unscaled(some))
        return total

    def products(self, some: Some, w: F64) -> F64:
        """Return ``c(x) . w``; equal rows have equal ones."""
        # Not BLAS: its rounding depends on where a row lies, and on a busy machine its threads
        # wait for each other, 12 ms a call were measured.
        products: F64 = np.einsum("ij,j->i", self._unscaled(some), w)
        products *= self._factor[some]
        return products

    def _centre_them(self) -> None:
        """Set the centre, and the unit that brings the largest number near 1."""
        sums = (self._unscaled(block).sum(axis=0) for block in self.blocks())
        total = sum(sums, start=np.zeros(()))
        # A centre of float32 digits: float32 rows less it are exact in float64.
        self._centre = centre = (total / self.n).astype(np.float32).astype(np.float64)
        top, bottom = self._values.max(axis=0), self._values.min(axis=0)
        self._factor[:] = _unit(np.maximum(top - centre, centre - bottom).max())

    def _unscaled(self, some: Some) -> F64:
        """Return the points before their factors, which sums and products take in more cheaply."""
        points = self._values[some].astype(np.float64)
        if self._centre is not None:
            points -= self._centre
        return points


class GradientPoints(Points):
    """Points of gradients, by their factors ``p`` and ``[1, e]``."""

    def __init__(self, gradients: Gradients, kernel: str, dtype: type = np.float32) -> None:
        residuals, features = gradients.residuals, gradients.features
        super().__init__(len(gradients), residuals.shape[1] + features.shape[1] + 1)
        self._gradients = gradients
        self._left, self._right = np.ones(self.n), np.ones(self.n)
        left: NDArray[Any] = np.empty(residuals.shape, dtype)
        right: NDArray[Any] = np.empty((self.n, features.shape[1] + 1), dtype)
        self.factors = left, right
        if kernel == "sqeuclidean":
            self._left[:] = _unit(np.abs(residuals).max())
            self._right[:] = _unit(max(1.0, np.abs(features).max()))
            self.offset = np.empty(self.n)
        in_place = dtype == np.float64
        if in_place:
            left[:], right[:, 1:] = residuals, features
        for block in self.blocks():
            p, e = (left[block], right[block, 1:]) if in_place else self._unscaled(block)
            p2, e2 = np.einsum("ij,ij->i", p, p), 1 + np.einsum("ij,ij->i", e, e)
            if self.offset is None:
                self._left[block] = _inverse(np.sqrt(p2))
                self._right[block] = _inverse(np.sqrt(e2))
                self.scale = 1.0
            else:
                p2 *= self._left[block] ** 2
                e2 *= self._right[block] ** 2
                self.offset[block] = -0.5 * p2 * e2
                self.scale = max(self.scale, float((p2 * e2).max()))
            right[block, 0] = self._right[block]
            for factor, to, points in (
                (self._left, left[block], p),
                (self._right, right[block, 1:], e),
            ):
                np.multiply(points, factor[block, None], out=to, casting="same_kind")

    def total(self, some: Some) -> F64:
        """Return the sum over points as ``sum p e^T``, [C, d + 1]."""
        p, e = self._unscaled(some)
        p *= (self._left[some] * self._right[some])[:, None]
        total = np.empty((p.shape[1], e.shape[1] + 1))
        p.sum(axis=0, out=total[:, 0])
        np.matmul(p.T, e, out=total[:, 1:])
        return total

    def products(self, some: Some, w: F64) -> F64:
        """Return ``p(x)^T w e(x)``."""
        p, e = self._unscaled(some)
        products: F64 = np.einsum("ij,ij->i", p, e @ w[:, 1:].T + w[:, 0])
        products *= self._left[some] * self._right[some]
        return products

    def _unscaled(self, some: Some) -> tuple[F64, F64]:
        """Return ``p`` and ``e``, without its 1, before their factors."""
        gradients = self._gradients
        return (
            gradients.residuals[some].astype(np.float64),
            gradients.features[some].astype(np.float64),
        )


def points_of(embeddings: NDArray[Any] | Gradients, kernel: str) -> Points:
    """Return a pool's points, in one of `KERNELS`; a zero row has cosine 0 with everything.

    The factors of gradients are float64 where sums of C x (d + 1) matrices would cost more than
    the products of all pairs in twice the precision.
    """
    if isinstance(embeddings, Gradients):
        classes, d = embeddings.residuals.shape[1], embeddings.features.shape[1]
        sums_cost_more = 8 * classes * d > len(embeddings) * (classes + d)
        return GradientPoints(embeddings, kernel, np.float64 if sums_cost_more else np.float32)
    return VectorPoints(embeddings, kernel)


def _tamed(values: NDArray[Any], by_row: bool) -> NDArray[Any]:
    """Return values scaled by powers of two, so that squares suit float32."""
    if values.dtype.itemsize < 8:
        return values
    peaks = np.maximum(values.max(axis=1), -values.min(axis=1))
    exponents = np.frexp(peaks if by_row else peaks.max())[1]
    if (np.abs(exponents) < _TAME).all():
        return values
    scaled: NDArray[Any] = np.ldexp(values, -(exponents[:, None] if by_row else exponents))
    return scaled


def _unit(peak: Any) -> float:
    """Return the power of two, so that scaling is exact, that brings `peak` near 1."""
    return float(np.ldexp(1.0, -max(int(np.frexp(float(peak))[1]), -1000)))


def _inverse(lengths: F64) -> F64:
    """Return 1 / lengths, and 1 for 0."""
    inverse: F64 = 1 / np.where(lengths > 0, lengths, 1)
    return inverse
