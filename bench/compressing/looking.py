"""Looking at a user's images: held in memory where they fit, else decoded block by block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from bench.contract import ImageDataset
from bench.datasets.decoding import UnreadableImageError, decode
from bench.datasets.lazy_images import CHANNELS, LazyImages, for_each
from bench.errors import DamagedFileError, DataError
from bench.storage import read_json, write_json

if TYPE_CHECKING:
    from bench.arrays import ByteArray, IntArray
    from bench.compressing.source import ImageFiles
    from bench.progress import Progress

DECODING = 1
"""Raised when the same file begins to give other pixels; part of the data set's identity."""
_TOLD = 3


@dataclass(frozen=True)
class View:
    """How images are looked at.

    Parameters
    ----------
    size : int
        Side in pixels that they are brought to.
    memory : int
        Bytes that they may take; more are decoded on demand.
    threads : int
        How many decode.
    """

    size: int
    memory: int
    threads: int

    def streams(self, count: int) -> bool:
        """Return whether this many images do not fit into the memory."""
        return self.bytes(count) > self.memory

    def bytes(self, count: int) -> int:
        """Return the bytes that this many images take."""
        return count * self.size * self.size * CHANNELS


@dataclass(frozen=True)
class Looked:
    """The images that could be read.

    Parameters
    ----------
    train : ImageDataset
        Their pixels, labels and keys.
    positions : int64 [N]
        Their positions among all files.
    broken : tuple of str
        The files that could not be read, with the reason.
    """

    train: ImageDataset
    positions: IntArray
    broken: tuple[str, ...]


def look(
    files: ImageFiles, view: View, checked: Path, skip_broken: bool, progress: Progress
) -> Looked:
    """Read every image once, and hold them in memory if they fit.

    Parameters
    ----------
    checked : Path
        Where it is kept which images are broken, so that a streamed set is checked once.
    skip_broken : bool
        Go on without broken images.

    Raises
    ------
    DataError
        That names the first broken images and counts them.
    """
    count = len(files)
    if view.streams(count):
        broken = _known(checked, files.fingerprint)
        if broken is None:
            broken = _read_all(files, view, None, progress)
            told = {str(position): reason for position, reason in broken.items()}
            write_json(checked, {"id": files.fingerprint, "broken": told})
        images = None
    else:
        images = np.empty((count, view.size, view.size, CHANNELS), dtype=np.uint8)
        broken = _read_all(files, view, images, progress)
    named = tuple(f"{files.entries[p].path} ({reason})" for p, reason in sorted(broken.items()))
    if named and not skip_broken:
        raise DataError(_refusal(files, named))
    if len(named) == count:
        raise DataError(f"{files.tree.place}: none of {count} images can be read: {named[0]}")
    positions = np.array([p for p in range(count) if p not in broken], dtype=np.int64)
    return Looked(_dataset(files, view, images, positions), positions, named)


def _read_all(
    files: ImageFiles, view: View, images: ByteArray | None, progress: Progress
) -> dict[int, str]:
    """Decode every image, into an array where one is given; return the broken ones' reasons."""
    broken: dict[int, str] = {}

    def read(position: int) -> None:
        try:
            content = files.tree.content(files.entries[position])
            pixels = decode(content, view.size, is_draft=True)
        except UnreadableImageError as error:
            broken[position] = str(error)
            return
        except DataError:  # no access, or a damaged part of a zip file
            broken[position] = "its bytes cannot be read"
            return
        if images is not None:
            images[position] = pixels

    for_each(
        read,
        range(len(files)),
        view.threads,
        lambda done, total: progress.stage("reading images", done, total),
    )
    return broken


def _known(checked: Path, fingerprint: str) -> dict[int, str] | None:
    try:
        content = read_json(checked)
    except (OSError, DamagedFileError):
        return None
    if content["id"] != fingerprint:
        return None
    return {int(position): reason for position, reason in content["broken"].items()}


def _dataset(
    files: ImageFiles, view: View, images: ByteArray | None, positions: IntArray
) -> ImageDataset:
    if images is None:
        entries = [files.entries[position] for position in positions]
        lazy = LazyImages(files.tree, entries, view.size, view.memory, view.threads)
        images = cast("ByteArray", lazy)
    elif len(positions) < len(images):
        images = images[positions]
    labels = files.labels[positions]
    present = np.unique(labels)  # a class may have lost all of its images
    return ImageDataset(
        images=images,
        labels=np.searchsorted(present, labels).astype(np.int64),
        classes=tuple(files.classes[label] for label in present),
        keys=tuple(files.keys[position] for position in positions),
    )


def _refusal(files: ImageFiles, named: tuple[str, ...]) -> str:
    more = f" and {len(named) - _TOLD} more" if len(named) > _TOLD else ""
    return (
        f"{files.tree.place}: {len(named)} of {len(files)} images cannot be read: "
        f"{', '.join(named[:_TOLD])}{more}. Repair or remove them, or go on with --skip-broken"
    )
