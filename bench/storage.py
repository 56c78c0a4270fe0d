"""Files that are whole or not there: temporary name, then rename; checksums inside.

No file locks and no central index: this works on network file systems and with many writers.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DamagedFileError, DiskFullError, StorageError
from bench.identity import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHECKSUM = "checksum"


@contextlib.contextmanager
def told_as_storage_error(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a failed write into one helpful line."""
    try:
        yield
    except OSError as error:
        kind: type[StorageError] = StorageError
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            kind = DiskFullError
            advice = "The disk is full: free some space, then run the same command again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = "Choose another folder, or make it writable"
        else:
            advice = "Check the path, or choose another folder"
        reason = error.strerror or str(error)
        raise kind(f"cannot write {path}: {reason}. {advice}") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it there once the block is through."""
    with told_as_storage_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            yield temporary
            _rename(temporary, path)
        except BaseException:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)
            raise


def _rename(temporary: Path, path: Path) -> None:
    if not temporary.is_dir():
        os.replace(temporary, path)
        return
    try:
        os.rename(temporary, path)
    except OSError:
        if not path.is_dir():
            raise
        shutil.rmtree(temporary)  # another worker was quicker; theirs is as good


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: dict[str, Any], indent: int | None = 1) -> None:
    """Write a JSON object with its checksum, whole or not at all.

    Parameters
    ----------
    indent : int, optional
        None writes one line, ten times as fast: for what holds thousands of cells.
    """
    as_read = json.loads(json.dumps(content, allow_nan=False))  # keys that are numbers become text
    write_text(path, json.dumps({**as_read, _CHECKSUM: digest(as_read)}, indent=indent) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that :func:`write_json` wrote.

    Raises
    ------
    DamagedFileError
        When the file is no JSON object or its checksum does not match.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        checksum = content.pop(_CHECKSUM)
        matches = checksum == digest(content)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedFileError(f"{path} is damaged: {type(error).__name__}") from None
    if not matches:
        raise DamagedFileError(f"{path} is damaged: its checksum does not match")
    return dict(content)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder, so that it can be looked at and made anew."""
    aside = path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}")
    with told_as_storage_error(path), contextlib.suppress(FileNotFoundError):
        os.replace(path, aside)  # where it is gone, another worker has set it aside
    return aside


def file_checksum(path: Path) -> str:
    """Return the blake2b digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def require_writable(folder: Path) -> None:
    """Raise a StorageError at once when nothing can be written in a folder."""
    with told_as_storage_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{uuid.uuid4().hex[:8]}"
        try:
            probe.write_bytes(b"0" * 4096)
        finally:
            probe.unlink(missing_ok=True)


@contextlib.contextmanager
def without_empty(folder: Path) -> Iterator[None]:
    """Take back the folders that a block makes for this one where it leaves them empty."""
    missing = missing_folders(folder)
    try:
        yield
    finally:
        remove_empty(missing)


def missing_folders(folder: Path) -> list[Path]:
    """Return what of a folder and of those above it is not there, itself first."""
    return [one for one in (folder, *folder.parents) if not one.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove the folders among these that hold nothing, in this order."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
