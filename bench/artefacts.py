"""The store of artefacts: arrays in safetensors beside a manifest, checksummed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DamagedFileError
from bench.storage import file_checksum, read_json, replacing, set_aside, write_json

if TYPE_CHECKING:
    from bench.arrays import Arrays

_DATA = "data.safetensors"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StoredArtefact:
    """An artefact as it was read from the store.

    ``manifest["costs"]`` holds the seconds of this artefact and of everything it was made from,
    by id.
    """

    arrays: Arrays
    manifest: dict[str, Any]


class ArtefactStore:
    """The artefacts of one results folder, one folder each.

    Parameters
    ----------
    folder : Path
        Where they lie.
    warn : callable
        Told when a damaged artefact was found and set aside.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._warn = warn

    def has(self, identifier: str) -> bool:
        """Return whether an artefact is there; its checksum is not looked at."""
        return (self._folder / identifier / _MANIFEST).exists()

    def ids(self) -> set[str]:
        """Return the ids of all artefacts that are there, whole or damaged."""
        try:
            return {
                entry.name for entry in os.scandir(self._folder) if not entry.name.startswith(".")
            }
        except (FileNotFoundError, NotADirectoryError):
            return set()

    def load(self, identifier: str) -> StoredArtefact | None:
        """Return an artefact, or None when it is not there or damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        place = self._folder / identifier
        try:
            manifest = read_json(place / _MANIFEST)
            if file_checksum(place / _DATA) != manifest["data_checksum"]:
                raise DamagedFileError(f"{place / _DATA} is damaged: its checksum does not match")
            return StoredArtefact(load_file(place / _DATA), manifest)
        except FileNotFoundError:
            if not place.exists():
                return None
            reason = f"{place} is damaged: a file is missing"
        except (DamagedFileError, SafetensorError) as error:
            reason = str(error)
        self._warn(f"{reason}. Set aside as {set_aside(place).name}; it is made anew")
        return None

    def save(self, identifier: str, arrays: Arrays, manifest: dict[str, Any]) -> StoredArtefact:
        """Store an artefact; where another worker was quicker, theirs stays."""
        import numpy as np

        place = self._folder / identifier
        contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        with replacing(place) as temporary:
            temporary.mkdir()
            _write(temporary / _DATA, contiguous)
            sealed = {**manifest, "data_checksum": file_checksum(temporary / _DATA)}
            write_json(temporary / _MANIFEST, sealed)
        return StoredArtefact(contiguous, read_json(place / _MANIFEST))


def _write(path: Path, arrays: Arrays) -> None:
    """Write arrays from where they lie in memory: others of the library's calls copy them."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(arrays, path)
    except SafetensorError as error:  # has the system's refusal in its text alone
        refused = re.search(r"os error (\d+)", str(error))
        if refused is None:
            raise
        raise OSError(int(refused[1]), os.strerror(int(refused[1]))) from error
    path.chmod(mode)  # its file is another one, which only the owner may read
