"""Graphs of nearest neighbours: exact, block by block, with ties that rounding does not decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.arrays import Float32Array, FloatArray, IntArray

_ENTRIES = 2**23
"""Distances that are held at a time: 64 MB in float64."""
_EQUAL = 1e-10
"""Squared distances that differ by less than this share of the largest norm's square are ties;
far above the rounding of a matrix product, far below what tells images apart."""


@dataclass(frozen=True)
class Graph:
    """An undirected graph with lengths; edges are held in both directions, sorted by source.

    Parameters
    ----------
    source, target : int64 [edges]
        The ends of each edge.
    squared : float64 [edges]
        Squared distance of the two ends.
    starts : int64 [n + 1]
        The edges of node i are ``starts[i]`` to ``starts[i + 1]``.
    """

    source: IntArray
    target: IntArray
    squared: FloatArray
    starts: IntArray

    def __len__(self) -> int:
        return len(self.starts) - 1


def neighbour_graph(
    points: Float32Array | FloatArray,
    k: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Graph:
    """Return the graph in which two points are joined when one is among the other's k nearest.

    Parameters
    ----------
    points : float [n, d]
        Finite; distances are Euclidean.
    k : int
        Neighbours of each point besides itself; all others where there are not so many.
    progress : callable
        Told the points done and all points.
    """
    n = len(points)
    nearest, squared = nearest_neighbours(points, k, progress)
    near, far = np.repeat(np.arange(n), nearest.shape[1]), nearest.reshape(-1)
    codes = np.concatenate([near * n + far, far * n + near])
    edges, first = np.unique(codes, return_index=True)
    source, target = np.divmod(edges, n)
    lengths = np.tile(squared.reshape(-1), 2)[first]
    return Graph(source, target, lengths, np.searchsorted(source, np.arange(n + 1)))


def nearest_neighbours(
    points: Float32Array | FloatArray,
    k: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[IntArray, FloatArray]:
    """Return each point's k nearest others, nearest first, and their squared distances.

    Parameters are those of :func:`neighbour_graph`.

    Returns
    -------
    neighbours : int64 [n, min(k, n - 1)]
        Ties go to the lowest index.
    squared : float64 [n, min(k, n - 1)]
        Computed from differences: 0 for equal points.
    """
    n, k = len(points), min(k, len(points) - 1)
    neighbours, squared = np.zeros((n, k), dtype=np.int64), np.zeros((n, k))
    if k == 0:
        return neighbours, squared
    centred = points.astype(np.float64)
    centred -= centred.mean(axis=0)
    norms = np.einsum("nd,nd->n", centred, centred)
    unit = _EQUAL * norms.max() or 1.0
    rows = max(1, _ENTRIES // n)
    for start in range(0, n, rows):
        block = np.arange(start, min(start + rows, n))
        distance = norms[block, None] + norms - 2 * centred[block] @ centred.T
        # One whole number holds the distance in units and the index, so that no two are equal.
        codes = np.rint(distance.clip(0) / unit).astype(np.int64) * n + np.arange(n)
        codes[np.arange(len(block)), block] = np.iinfo(np.int64).max
        neighbours[block] = np.sort(np.partition(codes, k - 1)[:, :k]) % n
        for rank in range(k):
            away = centred[block] - centred[neighbours[block, rank]]
            squared[block, rank] = np.einsum("nd,nd->n", away, away)
        progress(int(block[-1]) + 1, n)
    return neighbours, squared
