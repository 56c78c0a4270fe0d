"""The image files below a folder or inside a zip file, seen the same way."""

from __future__ import annotations

import os
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.errors import DataError

IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
)


@dataclass(frozen=True)
class Entry:
    """One image file: its path inside the tree, with slashes, and its size in bytes."""

    path: PurePosixPath
    size: int


class FileTree:
    """The image files below one root."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @abstractmethod
    def entries(self) -> list[Entry]:
        """Return all image files, sorted by path; hidden ones are left out."""

    @abstractmethod
    def read(self, entries: list[Entry]) -> Iterator[bytes]:
        """Yield the files' bytes in the given order."""


class Folder(FileTree):
    """Image files below a folder; links are followed."""

    def entries(self) -> list[Entry]:
        """Return all image files below the folder."""
        found = []
        for parent, folders, files in os.walk(self.place, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            relative = PurePosixPath(Path(parent).relative_to(self.place).as_posix())
            for name in files:
                if _is_image(name):
                    size = os.stat(os.path.join(parent, name)).st_size
                    found.append(Entry(relative / name, size))
        return sorted(found, key=lambda entry: entry.path.as_posix())

    def read(self, entries: list[Entry]) -> Iterator[bytes]:
        """Yield the files' bytes."""
        for entry in entries:
            try:
                yield (self.place / entry.path).read_bytes()
            except OSError as error:
                raise DataError(
                    f"cannot read {self.place / entry.path}: {error.strerror}"
                ) from None


class Zip(FileTree):
    """Image files inside a zip file; its checksums are verified as they are read."""

    def entries(self) -> list[Entry]:
        """Return all image files in the archive."""
        with self._open() as archive:
            found = [
                Entry(PurePosixPath(info.filename), info.file_size)
                for info in archive.infolist()
                if _is_image(info.filename) and not info.filename.startswith("__MACOSX")
            ]
        return sorted(found, key=lambda entry: entry.path.as_posix())

    def read(self, entries: list[Entry]) -> Iterator[bytes]:
        """Yield the files' bytes."""
        with self._open() as archive:
            for entry in entries:
                try:
                    yield archive.read(entry.path.as_posix())
                except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
                    raise DataError(
                        f"{self.place} is damaged at {entry.path}: {error}. Copy it again"
                    ) from None

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.place)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"{self.place} is not a readable zip file: {error}. Copy it again, or unpack it "
                "and name the folder"
            ) from None


def file_tree(place: Path | None) -> FileTree:
    """Return the files of a folder or a zip file; raise a DataError when there are none."""
    if place is None:
        raise DataError("data set imagefolder needs --data PATH: a folder or a zip file")
    if place.is_dir():
        return Folder(place)
    if place.is_file():
        return Zip(place)
    raise DataError(f"{place} does not exist. Name a folder or a zip file with --data PATH")


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")
