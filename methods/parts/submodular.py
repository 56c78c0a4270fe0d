"""GraphCut: bins by recursive greedy selection, and one-shot selection, class by class."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench import resources
from methods.parts import blas
from methods.parts.gradients import Gradients
from methods.parts.greedy import Picks, greedy, most_bytes
from methods.parts.points import KERNELS, Index, points_of

MOST_TOGETHER = 8  # pools searched at a time: their picks share Python's lock


@dataclass(frozen=True)
class Binning:
    """Bins, and how they were found.

    Parameters
    ----------
    bins : list of ndarray, int64
        Indices of images, one array a bin, in pick order within a class, classes ascending.
    searches : tuple of str
        What was used: "matrix" (the float32 kernel matrix of a class), "products" (its rows when
        needed), both, or nothing where no image was there.
    smallest_gap : float
        The least lead of a pick over the second best gain, over all picks, in units of
        ``max |c|^2`` (1 for the cosine, whose gain is the released code's). 0 for ties, that is
        below ``8 eps64 n``; infinite where no pick had a rival. Machines whose float64 sums
        differ by less pick the same.
    """

    bins: list[Index]
    searches: tuple[str, ...]
    smallest_gap: float

    def notes(self) -> dict[str, Any]:
        """Return how the bins were found, as notes for a record."""
        gap = self.smallest_gap if np.isfinite(self.smallest_gap) else None
        return {"search": list(self.searches), "smallest_gap": gap}


def graphcut_binning(
    embeddings: ArrayLike | Gradients,
    labels: ArrayLike | None,
    bins: int = 10,
    kernel: str = "cosine",
    balance: bool = True,
    memory_limit: int | None = None,
) -> Binning:
    """Divide a set into bins by recursive GraphCut selection.

    Parameters
    ----------
    embeddings : array_like, real, [N, d], or Gradients
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
        available (of the physical memory from `os.sysconf` where there is no such file).

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

    A pool of n points is searched by its n x n float32 matrix, half of it computed. Where that does
    not fit, above 15,000 points, or for picks of less than 0.4 n, rows of it are made 256 at a
    time, for the points of highest gain, and 512 are kept: 4 n (d + 830) bytes. `Binning.searches`
    tells which; the picks are the same.

    Gradients are never multiplied out. Their kernel is the Hadamard product of two small ones, of
    the residuals and of ``[1, e]``, so that ``sqrt(d)`` becomes ``sqrt(C) + sqrt(d + 1)`` and 3
    becomes 6. In float64 they are compared by the C x (d + 1) matrix ``sum_S p_j [1, e_j]^T``;
    where that has more entries than pairs are cheap to compute (many classes, ``8 C d >
    n (C + d)``), the n x n matrix itself is float64 and serves for both. Squared distances of
    gradients are taken without centring: the unit ``|c|`` is that of the gradients themselves.

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


def graphcut_selection(
    embeddings: ArrayLike | Gradients,
    labels: ArrayLike | None,
    counts: int | Mapping[Any, int] | ArrayLike,
    kernel: str = "cosine",
    memory_limit: int | None = None,
) -> Binning:
    """Select once by GraphCut, a given number of images a class.

    Parameters
    ----------
    embeddings, labels, kernel, memory_limit
        As in `graphcut_binning`.
    counts : int, mapping of class to int, or array_like of int
        Picks from each class's full pool (entry c of an array: class c; none from a class that
        is left out); an int selects from the whole set, without labels.

    Returns
    -------
    Binning
        Of one bin: indices in pick order within a class, classes in ascending order. The first k
        picks of a class are those of a selection of k.

    Raises
    ------
    ValueError
        As `graphcut_binning`, and for a count below 0 or above the size of its pool.
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
    return _select(values, pools, sizes, 1, kernel, memory_limit)


def _select(
    values: NDArray[Any] | Gradients,
    pools: Mapping[Any, Index],
    sizes: Mapping[Any, Sequence[int]],
    bins: int,
    kernel: str,
    memory_limit: int | None,
) -> Binning:
    """Search every pool and join the picks of each bin."""
    limit = resources.available_memory() // 4 if memory_limit is None else memory_limit
    wanted = {name: pool for name, pool in pools.items() if sum(sizes[name])}

    def search(name: Any, limit: int) -> Picks:
        # Of a single pool a second copy may not fit.
        inside = values if len(pools) == 1 else _subset(values, pools[name])
        return greedy(points_of(inside, kernel), sizes[name], limit)

    parts: list[list[Index]] = [[np.empty(0, np.int64)] for _ in range(bins)]
    searches, gap = set(), np.inf
    with closing(_each(search, wanted, _width(values), limit)) as all_found:
        for pool, found in zip(wanted.values(), all_found, strict=True):
            for part, picks in zip(parts, found.bins, strict=True):
                part.append(pool[picks])
            searches.add(found.search)
            gap = min(gap, found.smallest_gap)
    return Binning([np.concatenate(part) for part in parts], tuple(sorted(searches)), gap)


def _each(
    search: Callable[[Any, int], Picks], pools: Mapping[Any, Index], width: int, limit: int
) -> Generator[Picks]:
    """Search pools, as many at a time as there are threads and memory for; yield in order.

    Picks are found one after the other, so that threads of their own do what BLAS's cannot.
    """
    most = max((most_bytes(len(pool), width) for pool in pools.values()), default=1)
    together = min(blas.threads(), len(pools), limit // most, MOST_TOGETHER)
    if together <= 1:
        yield from (search(name, limit) for name in pools)
        return
    with blas.one_thread(), ThreadPoolExecutor(together) as threads:
        try:
            yield from threads.map(search, pools, repeat(limit // together))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _width(values: NDArray[Any] | Gradients) -> int:
    """Return how many numbers a point's factors have."""
    if isinstance(values, Gradients):
        return int(values.residuals.shape[1] + values.features.shape[1] + 1)
    return int(values.shape[1])


def _subset(values: NDArray[Any] | Gradients, pool: Index) -> NDArray[Any] | Gradients:
    return values.subset(pool) if isinstance(values, Gradients) else values[pool]


def _checked(embeddings: ArrayLike | Gradients, kernel: str) -> NDArray[Any] | Gradients:
    """Return the embeddings as a finite real floating-point array [N, d], or as gradients."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel: {kernel!r}; allowed: {', '.join(KERNELS)}")
    if isinstance(embeddings, Gradients):
        _check_finite(embeddings.residuals, "residuals")
        _check_finite(embeddings.features, "features")
        return embeddings
    values = np.asarray(embeddings)
    if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "biuf":
        found = f"{values.dtype} {list(values.shape)}"
        raise ValueError(f"embeddings: {found}; allowed: real numbers [N, d] with d at least 1")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    _check_finite(values, "embeddings")
    return values


def _check_finite(values: NDArray[Any], name: str) -> None:
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):  # else only the sum was too large
        raise ValueError(f"{name}: not finite in row {bad[0]}; allowed: finite numbers")


def _classes(labels: ArrayLike | None, n: int) -> dict[Any, Index]:
    """Return the indices of each class, classes ascending."""
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"labels: shape {array.shape}; allowed: ({n},), one an embedding")
    names, counts = np.unique(array, return_counts=True)
    groups = np.split(np.argsort(array, kind="stable"), np.cumsum(counts)[:-1])
    return dict(zip(names.tolist(), groups, strict=False))
