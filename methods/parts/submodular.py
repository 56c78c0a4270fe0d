"""GraphCut: bins by recursive greedy selection, and one-shot selection, class by class."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from methods.parts.greedy import POINTS, Index, greedy


def graphcut_bins(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    bins: int = 10,
    kernel: str = "cosine",
    balance: bool = True,
    memory_limit: int | None = None,
) -> list[Index]:
    """Divide a set into bins by recursive GraphCut selection.

    Parameters
    ----------
    embeddings : array_like, real, [N, d]
        One finite row an image, in any unit.
    labels : array_like [N] or None
        Class of each image, of any sortable type; not used if `balance` is false.
    bins : int
        Number of bins, at least 1. A pool of n gives ``n // bins`` picks to every bin but the
        last, which takes what is left.
    kernel : {"cosine", "sqeuclidean"}
        ``sum_V s - 2 sum_S s`` with ``s = (1 + cos) / 2``, a zero row having cosine 0 with
        everything; or ``sum_S |p - x|^2 - sum_{V - S} |p - x|^2``.
    balance : bool
        Select within each class; otherwise the pool is the whole set.
    memory_limit : int, optional
        Bytes for all working arrays; by default a quarter of the memory that /proc/meminfo calls
        available (of the physical memory from `os.sysconf` where there is no such file). A pool
        of n points is worked without its n x n float32 matrix, in 12 n d bytes, until what
        earlier bins left of it fits.

    Returns
    -------
    list of ndarray, int64
        Indices into `embeddings`, one array a bin, in pick order within a class, classes in
        ascending order.

    Raises
    ------
    ValueError
        For wrong shapes, embeddings that are not finite, `bins` below 1, or an unknown `kernel`.

    Notes
    -----
    Picks equal those of a full float64 evaluation, ties to the lowest index; differences below
    ``8 eps64 n max |c|^2`` are ties. Float32 rounding is bounded by ``2^-24 max |c|^2 (lambda
    sqrt(d k) + 3 k)`` after k rows: independent roundings of inner products (Higham and Mary 2019,
    "A New Approach to Probabilistic Rounding Error Analysis", Sec. 3, lambda = 8), and roundings
    of the two factors and the offset, which rows may share. All candidates within twice that of
    the maximum are compared again in float64.

    Inside a Slurm job /proc/meminfo still shows the whole node: give `memory_limit` there.

    Sources: Dataset Quantization (Zhou et al., ICCV 2023), Sec. 3 and appendix, whose equation is
    the squared distance; its released code and DeepCore (arXiv 2204.08499), GraphCut, the cosine.
    """
    if bins < 1:
        raise ValueError(f"bins: {bins}; allowed: 1 or more")
    values = _checked(embeddings, kernel)
    everything = {"all": np.arange(len(values))}
    pools = _classes(labels, len(values)) if balance else everything
    sizes = {}
    for name, pool in pools.items():
        size = len(pool) // bins
        sizes[name] = [size] * (bins - 1) + [len(pool) - size * (bins - 1)]
    return _select(values, pools, sizes, bins, kernel, memory_limit)


def graphcut_order(
    embeddings: ArrayLike,
    labels: ArrayLike | None,
    counts: int | Mapping[Any, int] | ArrayLike,
    kernel: str = "cosine",
    memory_limit: int | None = None,
) -> Index:
    """Select once by GraphCut, a given number of images a class.

    Parameters
    ----------
    embeddings, labels, kernel, memory_limit
        As in `graphcut_bins`.
    counts : int, mapping of class to int, or array_like of int
        Picks from each class's full pool (entry c of an array: class c; none from a class that
        is left out); an int selects from the whole set, without labels.

    Returns
    -------
    ndarray, int64
        Indices in pick order within a class, classes in ascending order. The first k picks of a
        class are those of a selection of k.

    Raises
    ------
    ValueError
        As `graphcut_bins`, and for a count below 0 or above the size of its pool.
    """
    values = _checked(embeddings, kernel)
    wanted: dict[Any, int]
    if isinstance(counts, int | np.integer):
        pools, wanted = {"all": np.arange(len(values))}, {"all": int(counts)}
    else:
        pools = _classes(labels, len(values))
        given = counts if isinstance(counts, Mapping) else enumerate(np.asarray(counts).tolist())
        wanted = dict(given)
    for name, count in wanted.items():
        allowed = len(pools.get(name, ()))
        if not 0 <= count <= allowed:
            raise ValueError(f"counts: {count} of class {name!r}; allowed: 0 to {allowed}")
    sizes = {name: [wanted.get(name, 0)] for name in pools}
    return _select(values, pools, sizes, 1, kernel, memory_limit)[0]


def available_memory() -> int:
    """Return the bytes that are free: MemAvailable, else the physical memory."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _select(
    values: NDArray[Any],
    pools: Mapping[Any, Index],
    sizes: Mapping[Any, Sequence[int]],
    bins: int,
    kernel: str,
    memory_limit: int | None,
) -> list[Index]:
    """Run `greedy` in every pool and join the picks of each bin."""
    limit = available_memory() // 4 if memory_limit is None else memory_limit
    parts: list[list[Index]] = [[np.empty(0, np.int64)] for _ in range(bins)]
    for name, pool in pools.items():
        inside = values if len(pools) == 1 else values[pool]  # a second copy may not fit
        for part, picks in zip(parts, greedy(inside, sizes[name], kernel, limit), strict=True):
            part.append(pool[picks])
    return [np.concatenate(part) for part in parts]


def _checked(embeddings: ArrayLike, kernel: str) -> NDArray[Any]:
    """Return the embeddings as a finite real floating-point array [N, d]."""
    values = np.asarray(embeddings)
    if kernel not in POINTS:
        raise ValueError(f"kernel: {kernel!r}; allowed: {', '.join(POINTS)}")
    if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "biuf":
        found = f"{values.dtype} {list(values.shape)}"
        raise ValueError(f"embeddings: {found}; allowed: real numbers [N, d] with d at least 1")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.size and not np.isfinite([values.max(), values.min()]).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ValueError(f"embeddings: not finite in row {row}; allowed: finite numbers")
    return values


def _classes(labels: ArrayLike | None, n: int) -> dict[Any, Index]:
    """Return the indices of each class, classes ascending."""
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"labels: shape {array.shape}; allowed: ({n},), one an embedding")
    names, counts = np.unique(array, return_counts=True)
    groups = np.split(np.argsort(array, kind="stable"), np.cumsum(counts)[:-1])
    return dict(zip(names.tolist(), groups, strict=False))
