"""Image folders: ``train/CLASS/FILE`` and ``test/`` or ``val/``, in a folder or a zip file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

import numpy as np

from bench.components import Between
from bench.contract import ImageDataset
from bench.datasets.base import DATASETS, Dataset, Source, Splits
from bench.datasets.decoding import UnreadableImageError, decode
from bench.datasets.files import Entry, FileTree, Zip, file_tree
from bench.datasets.lazy_images import CHANNELS, LazyImages, answering_memory
from bench.errors import DataError
from bench.feeding import Stream, fits_in_memory
from bench.identity import digest
from bench.resources import cores, physical_memory

if TYPE_CHECKING:
    from bench.arrays import ByteArray

Listing = dict[str, list[tuple[Entry, tuple[str, ...]]]]
_TEST_NAMES = ("test", "val")
_READ_AHEAD = 512
_SHARE_OF_MEMORY = 0.5


@DATASETS.register("imagefolder")
@dataclass(frozen=True)
class ImageFolder(Dataset):
    """Images in class folders, held in memory as uint8, or decoded when they are looked at.

    Parameters
    ----------
    size : int
        Side in pixels that images are brought to: the shorter side is resized (bilinear,
        antialiased) and the centre cut out. 0 leaves them as they are; they must then all have
        one size.

    Notes
    -----
    Tables and figures call it by a name of yours where ``names.toml`` in the results folder has a
    line ``FINGERPRINT = "My photos"``; the fingerprint, files-..., stands under every table.
    """

    about: ClassVar[str] = "your own images: --data names a folder or zip with train/ and test/"

    size: Annotated[int, Between(0, 1024)] = 0

    def fingerprint(self, source: Source) -> str:
        """Return a digest of all class and file names and sizes, the same from folder and zip.

        Notes
        -----
        Contents are not read here, so that a finished sweep is recognised at once; an image that
        is replaced by another one of the same name and size is not noticed.
        """
        listing = _listing(file_tree(source.path))
        named = [[name, *path, entry.size] for name, es in listing.items() for entry, path in es]
        return f"files-{digest(named)}"

    def side(self, source: Source) -> int:
        """Return the size asked for, or that of the first training image."""
        if self.size:
            return self.size
        tree = file_tree(source.path)
        first, _ = _listing(tree)["train"][0]
        (pixels,) = _decoded(tree, [first], 0)
        return int(min(pixels.shape[:2]))

    def training_counts(self, source: Source) -> dict[str, int]:
        """Return the number of image files by class folder."""
        listing = _listing(file_tree(source.path))
        return dict(Counter(path[0] for _, path in listing["train"]))

    def training_keys(self, source: Source) -> tuple[str, ...]:
        """Return the training files' paths from the class on."""
        return _keys(_listing(file_tree(source.path))["train"])

    def load(self, source: Source) -> Splits:
        """Decode all images of both splits, or only list them where they do not fit."""
        tree = file_tree(source.path)
        listing = _listing(tree)
        load = _listed_split if self._streams(source, listing) else _load_split
        return Splits(
            train=load(tree, listing["train"], self.size),
            test=load(tree, listing["test"], self.size),
        )

    def _streams(self, source: Source, listing: Listing) -> bool:
        """Return whether images are left in their files: all of one size, too many to hold."""
        stream = source.feed.stream
        if not self.size or stream is Stream.NEVER:
            return False
        held = sum(map(len, listing.values())) * self.size**2 * CHANNELS
        return stream is Stream.ALWAYS or not fits_in_memory(held)


def _listing(tree: FileTree) -> Listing:
    """Return the files of both splits; those of an archive are listed once while it is the same.

    A command asks six times, and 60,000 files in a zip take more than a second.
    """
    if not isinstance(tree, Zip):
        return _listed(tree)
    status = tree.place.stat()
    return _listed_zip(tree.place.absolute(), (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=4)
def _listed_zip(place: Path, stamp: tuple[int, int]) -> Listing:
    return _listed(Zip(place))


def _listed(tree: FileTree) -> Listing:
    """Return the files of both splits, each with its path from the class on.

    The splits may lie below other folders; the highest ``train`` with a class below it counts.
    """
    entries = tree.entries()
    highest = split_roots(entries)
    if len(highest) != 1:
        found = f"{len(highest)} folders named train" if highest else "no train/CLASS/IMAGE"
        raise DataError(
            f"{tree.place} holds {found}. Lay it out as train/CLASS/IMAGE and test/CLASS/IMAGE"
        )
    (root,) = highest
    splits: Listing = defaultdict(list)
    for entry in entries:
        parts = entry.path.parts
        if parts[: len(root)] == root and len(parts) >= len(root) + 3:
            splits[parts[len(root)]].append((entry, parts[len(root) + 1 :]))
    tests = [name for name in _TEST_NAMES if name in splits]
    if not tests:
        raise DataError(
            f"{tree.place} has images in train/ but none in test/CLASS/ or val/CLASS/. Add them"
        )
    for name in ("train", tests[0]):
        below = tree.subfolders(PurePosixPath(*root, name))
        empty = sorted(below - {path[0] for _, path in splits[name]})
        if empty:
            raise DataError(
                f"class '{empty[0]}' has no image in {name}/ of {tree.place} (empty classes: "
                f"{len(empty)}). Add images or remove their folders"
            )
    return {"train": splits["train"], "test": splits[tests[0]]}


def split_roots(entries: list[Entry]) -> list[tuple[str, ...]]:
    """Return the highest folders that hold a folder ``train`` with a class below it."""
    roots = {e.path.parts[:i] for e in entries for i in _train_places(e)}
    return sorted(root for root in roots if len(root) == min(map(len, roots)))


def _train_places(entry: Entry) -> list[int]:
    """Return where in a file's path a folder ``train`` stands with a class below it."""
    return [i for i, name in enumerate(entry.path.parts[:-2]) if name == "train"]


def _listed_split(
    tree: FileTree, files: list[tuple[Entry, tuple[str, ...]]], size: int
) -> ImageDataset:
    """Return a split of which nothing is decoded yet."""
    advice = "Take fewer images at a time, or smaller ones: --dataset 'imagefolder[size={size}]'"
    entries = [entry for entry, _ in files]
    lazy = LazyImages(tree, entries, size, answering_memory(), is_draft=False, advice=advice)
    return _with_labels(cast("ByteArray", lazy), files)


def _load_split(
    tree: FileTree, files: list[tuple[Entry, tuple[str, ...]]], size: int
) -> ImageDataset:
    entries = [entry for entry, _ in files]
    images: ByteArray | None = None
    for position, pixels in enumerate(_decoded(tree, entries, size)):
        if images is None:
            images = _room_for(len(entries), pixels, tree)
        if pixels.shape != images.shape[1:]:
            raise DataError(
                f"{entries[position].path} is {_as_size(pixels)}, {entries[0].path} is "
                f"{_as_size(images[0])}. Bring all to one size: --dataset 'imagefolder[size=64]'"
            )
        images[position] = pixels
    assert images is not None  # a listing has at least one file
    return _with_labels(images, files)


def _with_labels(images: ByteArray, files: list[tuple[Entry, tuple[str, ...]]]) -> ImageDataset:
    paths = [path for _, path in files]
    classes = tuple(sorted({path[0] for path in paths}))
    number = {label: position for position, label in enumerate(classes)}
    return ImageDataset(
        images=images,
        labels=np.array([number[path[0]] for path in paths], dtype=np.int64),
        classes=classes,
        keys=_keys(files),
    )


def _keys(files: list[tuple[Entry, tuple[str, ...]]]) -> tuple[str, ...]:
    return tuple("/".join(path) for _, path in files)


def _decoded(tree: FileTree, entries: list[Entry], size: int) -> Iterator[ByteArray]:
    """Yield the decoded images in order; threads decode while the next files are read."""
    contents = tree.read(entries)
    remaining = iter(entries)
    with ThreadPoolExecutor(cores()) as pool:
        while block := list(islice(contents, _READ_AHEAD)):
            yield from pool.map(partial(_decode, tree, size), islice(remaining, len(block)), block)


def _decode(tree: FileTree, size: int, entry: Entry, content: bytes) -> ByteArray:
    try:
        return decode(content, size)
    except UnreadableImageError as error:
        raise DataError(
            f"{tree.place}: image {entry.path} cannot be read ({error}). Repair or remove it"
        ) from None


def _room_for(count: int, first: ByteArray, tree: FileTree) -> ByteArray:
    needed = count * first.nbytes
    memory = physical_memory()
    if needed > _SHARE_OF_MEMORY * memory:
        raise DataError(
            f"{tree.place}: {count} images of {_as_size(first)} take {needed / 2**30:.1f} GiB of "
            f"{memory / 2**30:.1f} GiB. Make them smaller: --dataset 'imagefolder[size=64]'"
        )
    return np.empty((count, *first.shape), dtype=np.uint8)


def _as_size(pixels: ByteArray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
