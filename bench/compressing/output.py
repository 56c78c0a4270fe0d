"""Writing what is kept: a folder or a zip file, complete or not there."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import uuid
import zipfile
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.choices import Link
from bench.datasets.files import Entry, FileTree, Folder
from bench.errors import DamagedFileError, DataError, StorageError, UsageError
from bench.identity import digest
from bench.indices import INDEX
from bench.storage import told_as_storage_error

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.compressing.source import ImageFiles

MANIFEST = "compression.json"
POSITIONS = "kept.npy"
OUR_FILES = frozenset({MANIFEST, INDEX, POSITIONS, "report.md", "report.jpg"})
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP})
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class Writer:
    """Receives the files of one output."""

    def __init__(self) -> None:
        self.ways: Counter[Link] = Counter()
        """Images written, by how: hard link, symbolic link, copy."""

    def keep(self, tree: FileTree, entry: Entry) -> None:
        """Add an image file of the input under its own path, its bytes unchanged."""
        self.write(entry.path, tree.content(entry))
        self.ways[Link.COPY] += 1

    @abstractmethod
    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Add a file."""


class FolderWriter(Writer):
    """Writes below a folder, with links where they are asked for and possible."""

    def __init__(self, folder: Path, link: Link) -> None:
        super().__init__()
        self._folder = folder
        self._link = link

    def keep(self, tree: FileTree, entry: Entry) -> None:
        """Link or copy an image file."""
        if not isinstance(tree, Folder):
            super().keep(tree, entry)
            return
        source = os.path.realpath(tree.place / entry.path)  # a link's own target may move
        target = self._place(entry.path)
        with told_as_storage_error(target):
            self.ways[self._linked(source, target)] += 1

    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Write a file."""
        target = self._place(path)
        with told_as_storage_error(target):
            target.write_bytes(content)

    def _linked(self, source: str, target: Path) -> Link:
        """Link or copy a file; return how."""
        if self._link is Link.SYMBOLIC:
            os.symlink(source, target)
            return Link.SYMBOLIC
        if self._link is Link.HARD:
            try:
                os.link(source, target)
                return Link.HARD
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
        shutil.copy2(source, target)
        return Link.COPY

    def _place(self, path: PurePosixPath) -> Path:
        target = self._folder / path
        with told_as_storage_error(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        return target


class ZipWriter(Writer):
    """Writes into a zip file, stored: images hardly shrink any further."""

    def __init__(self, archive: zipfile.ZipFile, place: Path) -> None:
        super().__init__()
        self._archive = archive
        self._place = place

    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Add a member; its time is always the same, so that equal contents give equal files."""
        try:
            info = zipfile.ZipInfo(path.as_posix(), _ZIP_TIME)
            info.external_attr = 0o644 << 16
            with told_as_storage_error(self._place):
                self._archive.writestr(info, content)
        except UnicodeEncodeError:
            raise DataError(
                f"the file name {os.fsencode(path)!r} is not valid UTF-8, as zip files need. "
                "Rename the file, or write to a folder"
            ) from None


class Output:
    """The place of an output, a folder or a ``.zip`` file.

    Parameters
    ----------
    place : Path
        What ``--out`` names; its parent folder is made when something is written.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._target = Path(os.path.realpath(place))
        self.work = self._target.with_name(f".{self._target.name}.bench-work")
        """Where intermediates are kept until the output is complete."""

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip file."""
        return self._target.suffix.lower() == ".zip"

    def refuse_within(self, files: ImageFiles) -> None:
        """Raise a UsageError when the output would lie in, or replace, the input."""
        place = Path(os.path.realpath(files.tree.place))
        inputs = {place}
        if isinstance(files.tree, Folder):  # folders may be links to elsewhere
            parents = {entry.path.parent for entry in files.entries}
            inputs |= {Path(os.path.realpath(place / parent)) for parent in parents}
        if inputs & {self._target, *self._target.parents}:
            raise UsageError(
                f"--out {self.place} lies within the images of {files.tree.place}, which are never "
                "changed. Name another place"
            )

    def finished(self, request_on: Callable[[str], str], fingerprint: str) -> dict[str, Any] | None:
        """Return the manifest when the output is complete and of this request.

        Parameters
        ----------
        request_on : callable
            Returns the id of what is asked on the files of a fingerprint.
        fingerprint : str
            Of the files that there are.

        Raises
        ------
        UsageError
            When there is something else, or a part of it is gone.
        """
        if not self._holds_something():
            return None
        manifest = self._manifest()
        if manifest is None:
            raise UsageError(
                f"--out {self.place} {self._what_it_is()}. Name a new or an empty folder, or a new "
                "file ending in .zip"
            )
        if manifest["id"] != request_on(fingerprint):
            raise UsageError(
                f"--out {self.place} holds the output of "
                f"{_owner(manifest, request_on, fingerprint)}. Name another place"
            )
        if not self.is_zip:
            kept = kept_files(self.read(INDEX))
            gone = [file for file in kept if not os.path.lexists(self._target / file)]
            if gone:
                raise UsageError(
                    f"--out {self.place} lacks {len(gone)} of its files, e.g. {gone[0]}. "
                    "Remove it and run the same command again"
                )
        return manifest

    def read(self, name: str) -> bytes:
        """Return the bytes of a file of the finished output."""
        if not self.is_zip:
            return (self._target / name).read_bytes()
        with zipfile.ZipFile(self._target) as archive:
            return archive.read(name)

    def positions(self) -> IntArray:
        """Return the positions of the kept images of the finished output, int64 [K]."""
        kept: IntArray = np.load(io.BytesIO(self.read(POSITIONS)), allow_pickle=False)
        return kept

    @contextmanager
    def writing(self, link: Link) -> Iterator[Writer]:
        """Give a writer; the output appears once the block is through."""
        with told_as_storage_error(self.work):
            self.work.mkdir(parents=True, exist_ok=True)
            for left in self.work.glob("output-*"):  # of a run that was killed
                _remove(left)
        temporary = self.work / f"output-{uuid.uuid4().hex[:12]}"
        try:
            if self.is_zip:
                with told_as_storage_error(temporary), zipfile.ZipFile(temporary, "w") as archive:
                    yield ZipWriter(archive, self.place)
            else:
                temporary.mkdir()
                yield FolderWriter(temporary, link)
            self._appear(temporary)
        except BaseException:
            _remove(temporary)
            raise

    def _appear(self, temporary: Path) -> None:
        with told_as_storage_error(self.place):
            if self._holds_something():
                raise StorageError(f"{self.place} was written meanwhile; it is left as it is")
            os.replace(temporary, self._target)

    def _holds_something(self) -> bool:
        if self._target.is_dir():
            return any(self._target.iterdir()) or self.is_zip
        return self._target.exists()

    def _what_it_is(self) -> str:
        if not self._target.is_dir():
            return "is a file that is no output of this command" if self.is_zip else "is a file"
        return "is a folder" if self.is_zip else "is not empty"

    def _manifest(self) -> dict[str, Any] | None:
        try:
            return parsed_manifest(self.read(MANIFEST))
        except (OSError, KeyError, zipfile.BadZipFile, DamagedFileError):
            return None


def _owner(manifest: dict[str, Any], request_on: Callable[[str], str], fingerprint: str) -> str:
    """Return in words whose output a manifest of another request is of."""
    other, before = f"another command ({manifest['asked']['words']})", manifest.get("files")
    if before is None:  # older outputs do not tell
        return f"{other}, or the images have changed"
    if before == fingerprint:
        return other
    if manifest["id"] == request_on(before):
        return "this command for images that have changed since, or for others"
    return f"{other} on other images"


def manifest_bytes(content: dict[str, Any]) -> bytes:
    """Return a manifest as a JSON file with its checksum."""
    as_read = json.loads(json.dumps(content, allow_nan=False))
    return (json.dumps({**as_read, "checksum": digest(as_read)}, indent=1) + "\n").encode()


def parsed_manifest(content: bytes) -> dict[str, Any]:
    """Return the manifest of :func:`manifest_bytes`; raise a DamagedFileError for another."""
    try:
        manifest = json.loads(content)
        if manifest.pop("checksum") == digest(manifest):
            return dict(manifest)
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    raise DamagedFileError(f"{MANIFEST} is damaged")


def index_bytes(rows: Iterable[tuple[str, str, int | str, int]]) -> bytes:
    """Return ``kept.csv``: the kept files with class, position and rank of selection."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "class", "position", "rank"))
    writer.writerows(rows)
    return os.fsencode(text.getvalue())  # names that are not valid UTF-8 keep their bytes


def kept_files(content: bytes) -> list[str]:
    """Return the files that :func:`index_bytes` lists."""
    return [row["file"] for row in csv.DictReader(io.StringIO(os.fsdecode(content), newline=""))]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
