"""Images that are decoded when they are looked at: large sets in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import resources
from bench.datasets.decoding import UnreadableImageError, decode
from bench.errors import DataError

if TYPE_CHECKING:
    from bench.arrays import ByteArray, IntArray
    from bench.datasets.files import Entry, FileTree

_BLOCK = 256
CHANNELS = 3
GIB = 2**30


class LazyImages:
    """Image files seen as one array, uint8 [N, S, S, 3], of which only blocks are in memory.

    Index it as an array: by a number, a slice, whole numbers or a mask. What is asked for is
    decoded by threads, every time anew. ``numpy.asarray`` decodes all of it.

    Parameters
    ----------
    tree : FileTree
        The folder or zip file.
    entries : sequence of Entry
        Its images, by position.
    size : int
        S, the side in pixels that images are brought to.
    memory : int
        Bytes that an answer may have; a larger one is refused with a DataError.
    threads : int, optional
        How many decode; None for one a core.
    is_draft : bool
        Let the JPEG decoder shrink, as :func:`bench.datasets.decoding.decode` tells.
    advice : str
        What to do where an answer does not fit; ``{size}`` is a side that would.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        tree: FileTree,
        entries: Sequence[Entry],
        size: int,
        memory: int,
        threads: int | None = None,
        is_draft: bool = True,
        advice: str = "Look at smaller ones, e.g. --size {size}, or raise --memory",
    ) -> None:
        self._is_draft = is_draft
        self._advice = advice
        self._tree = tree
        self._entries = entries
        self._side = size
        self._memory = memory
        self._threads = threads or resources.cores()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, S, S, 3."""
        return len(self), self._side, self._side, CHANNELS

    @property
    def size(self) -> int:
        """Number of values, as of an array."""
        return len(self) * self._side * self._side * CHANNELS

    @property
    def nbytes(self) -> int:
        """Bytes that all images take when they are decoded."""
        return self.size

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, key: Any) -> ByteArray:
        """Return some of the images; the first index chooses them, further ones cut their pixels.

        Raises
        ------
        DataError
            When the images do not fit into the memory allowed, or one cannot be read.
        """
        chosen, *rest = key if isinstance(key, tuple) else (key,)
        if chosen is Ellipsis:
            chosen, rest = slice(None), [Ellipsis, *rest]
        positions = np.arange(len(self))[chosen]
        images = self._decoded(np.atleast_1d(positions))
        cut = tuple(rest) if positions.ndim else (0, *rest)
        answer: ByteArray = images[(slice(None), *cut)] if positions.ndim else images[cut]
        return answer

    def take(self, positions: IntArray) -> LazyImages:
        """Return some of the images, none of them read."""
        chosen = _Some(self._entries, np.asarray(positions, dtype=np.int64))
        return LazyImages(
            self._tree,
            chosen,
            self._side,
            self._memory,
            self._threads,
            self._is_draft,
            self._advice,
        )

    def original(self, position: int) -> ByteArray:
        """Return an image as it is stored, uint8 [H, W, 3]."""
        return decoded(self._tree, self._entries[position], 0)

    def __iter__(self) -> Iterator[ByteArray]:
        for start in range(0, len(self), _BLOCK):
            yield from self[start : start + _BLOCK]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all images, for ``numpy.asarray``; always a new array."""
        if copy is False:
            raise ValueError("images that are decoded on demand cannot be given without a copy")
        images = self._decoded(np.arange(len(self)))
        return images if dtype is None else images.astype(dtype, copy=False)

    def _decoded(self, positions: IntArray) -> ByteArray:
        needed = len(positions) * self.nbytes // max(1, len(self))
        if needed > self._memory:
            raise DataError(
                f"{len(positions)} images of {self._side} pixels are needed at once, "
                f"{needed / GIB:.3g} GiB of the {self._memory / GIB:.3g} GiB allowed. "
                + self._advice.format(size=fitting_size(len(self), self._memory))
            )
        images = np.empty((len(positions), *self.shape[1:]), dtype=np.uint8)

        def fill(place: int) -> None:
            entry = self._entries[positions[place]]
            images[place] = decoded(self._tree, entry, self._side, self._is_draft)

        if len(positions) == 1:  # a worker's own look at one needs no threads
            fill(0)
            return images
        for_each(fill, range(len(positions)), self._threads)
        return images


class _Some(Sequence["Entry"]):
    """Some of many entries, without a copy of them."""

    def __init__(self, entries: Sequence[Entry], positions: IntArray) -> None:
        self._entries = entries
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: Any) -> Any:
        return self._entries[self._positions[position]]


def decoded(tree: FileTree, entry: Entry, size: int, is_draft: bool = True) -> ByteArray:
    """Return an image as it is looked at, uint8 [size, size, 3]; raise a DataError that names it.

    A size of 0 leaves it as it is stored.

    Notes
    -----
    Large JPEG files are shrunk by their decoder: see :func:`bench.datasets.decoding.decode`.
    """
    try:
        return decode(tree.content(entry), size, is_draft)
    except UnreadableImageError as error:
        raise DataError(
            f"{tree.place}: image {entry.path} cannot be read ({error}). Repair or remove it"
        ) from None


def for_each(
    work: Callable[[int], None],
    numbers: Sequence[int],
    threads: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Do some work for each number in threads, a block at a time; the first error is raised."""
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(numbers), _BLOCK):
            block = numbers[start : start + _BLOCK]
            for _ in pool.map(work, block):
                pass
            progress(start + len(block), len(numbers))


def fitting_size(count: int, memory: int) -> int:
    """Return a side in pixels, at most 64, at which this many images fit into some bytes."""
    return max(1, min(64, math.isqrt(memory // (count * CHANNELS))))


def answering_memory() -> int:
    """Return the bytes that images which are asked for at once may take."""
    return resources.available_memory() // 2
