"""The image files below a folder or inside a zip file, seen the same way."""

from __future__ import annotations

import lzma
import os
import threading
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from bench.errors import DataError

IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
)


_MEMBER_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or packed in a way that zipfile does not know
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One image file.

    Parameters
    ----------
    path : PurePosixPath
        Inside the tree, with slashes.
    size : int
        In bytes.
    stamp : int
        What tells that another file of the same size took its place: when it was modified, in
        nanoseconds, or the CRC-32 of a zip file's member.
    """

    path: PurePosixPath
    size: int
    stamp: int = 0


class FileTree:
    """The image files below one root."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @abstractmethod
    def entries(self) -> list[Entry]:
        """Return all image files, sorted by path; hidden ones are left out."""

    @abstractmethod
    def subfolders(self, path: PurePosixPath) -> set[str]:
        """Return the names of the folders directly below a path; hidden ones are left out."""

    @abstractmethod
    def content(self, entry: Entry) -> bytes:
        """Return a file's bytes; several threads may ask at once."""

    def read(self, entries: Iterable[Entry]) -> Iterator[bytes]:
        """Yield the files' bytes in the given order."""
        return map(self.content, entries)


class Folder(FileTree):
    """Image files below a folder; links are followed."""

    def entries(self) -> list[Entry]:
        """Return all image files below the folder."""
        found = []
        for parent, folders, files in os.walk(self.place, followlinks=True):
            folders[:] = [
                name for name in folders if not _is_hidden(name) and not _leads_up(parent, name)
            ]
            relative = PurePosixPath(Path(parent).relative_to(self.place).as_posix())
            for name in files:
                if _is_image(name) and not _is_hidden(name):
                    told = _stat_of(os.path.join(parent, name))
                    found.append(Entry(relative / name, told.st_size, told.st_mtime_ns))
        return sorted(found, key=lambda entry: entry.path.as_posix())

    def subfolders(self, path: PurePosixPath) -> set[str]:
        """Return the names of the folders below a path."""
        with os.scandir(self.place / path) as found:
            return {item.name for item in found if item.is_dir() and not _is_hidden(item.name)}

    def content(self, entry: Entry) -> bytes:
        """Return a file's bytes."""
        try:
            return (self.place / entry.path).read_bytes()
        except OSError as error:
            raise DataError(
                f"cannot read {self.place / entry.path}: {error.strerror}. Repair or remove it"
            ) from None


class Zip(FileTree):
    """Image files inside a zip file; its checksums are verified as they are read."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self._one_at_a_time = threading.Lock()  # a ZipFile counts its readers without one

    def entries(self) -> list[Entry]:
        """Return all image files in the archive."""
        found = [Entry(path, info.file_size, info.CRC) for path, info in self._members.items()]
        return sorted(found, key=lambda entry: entry.path.as_posix())

    def subfolders(self, path: PurePosixPath) -> set[str]:
        """Return the names of the folders below a path that the archive tells of."""
        names = [name for name in self._archive.namelist() if name.endswith("/")]
        folders = [PurePosixPath(name) for name in names]
        return {f.name for f in folders if f.parent == path and not _is_hidden(f.name)}

    def content(self, entry: Entry) -> bytes:
        """Return a file's bytes."""
        try:
            with self._one_at_a_time:
                return self._archive.read(self._members[entry.path])
        except _MEMBER_ERRORS as error:
            raise DataError(
                f"{self.place} is damaged at {entry.path}: {error}. Copy it again, or "
                "unpack it and name the folder"
            ) from None

    @cached_property
    def _members(self) -> dict[PurePosixPath, zipfile.ZipInfo]:
        return _images_in(self._archive)

    @property
    def _archive(self) -> zipfile.ZipFile:
        """The open archive; a forked process opens its own, since an open file has one place."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self._open()
            self._one_at_a_time = threading.Lock()
        return self._opened[1]

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


def _images_in(archive: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    images = (info for info in archive.infolist() if _is_image(info.filename))
    members = ((PurePosixPath(info.filename), info) for info in images)
    return {path: info for path, info in members if not any(map(_is_hidden, path.parts))}


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _leads_up(parent: str, name: str) -> bool:
    """Return whether a folder is a link to one that it lies in, which would never end."""
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return False
    inside, target = os.path.realpath(parent), os.path.realpath(path)
    return os.path.commonpath([inside, target]) == target


def _stat_of(file: str) -> os.stat_result:
    try:
        return os.stat(file)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}. Repair or remove it") from None
