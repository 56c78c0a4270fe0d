"""Many records in one file, read in seconds; the records' own files stay the truth.

``consolidated.zip`` holds the records of a results folder in chunks of JSON, with each file's
name, time and size. What is new or changed since is read from its file, what is gone is not
told, and a damaged consolidation is left out: nothing depends on it but speed.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import zipfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import DamagedFileError, StorageError
from bench.identity import canonical_json
from bench.memory import uncollected
from bench.records import RECORD_SCHEMA
from bench.storage import replacing

Record = dict[str, Any]

LEAST = 1000
"""Records that must have come anew before the consolidation is written (again)."""
_SHARE = 20
"""It is written again only when one in so many records is not in it."""
_CHUNK = 1000
_FORMAT = 3
_INDEX, _PARTS = "index.json", "parts.json"
_RECORDS, _DETAILS = "records-{:06}.json", "details-{:06}.json"
_OF_DETAILS = ("per_class_accuracy", "curve")
"""The metrics that stand apart: two thirds of a record, and most readers do without."""
TESTED_EPOCHS = "tested_epochs"
"""The metric that stands for them in records without: of how many epochs the best one is."""
_SHARED = {
    "": ("specs", "method", "compressed", "model", "normalisation"),
    "cell": ("dataset", "method", "budget", "model", "protocol"),
    "cost": ("selection_by_kind_s", "artefacts", "calibration"),
    "provenance": ("source", "machine", "packages", "device", "method"),
}
"""The objects that many records have in common, by the record's section that holds them."""


class Stamp(NamedTuple):
    """What tells a file that was written anew."""

    modified_ns: int
    size: int


class Part(dict[str, Any]):
    """An object that many records share: it must not be changed."""

    @cached_property
    def canonical(self) -> str:
        """Its canonical JSON; digests of 100,000 records need it a few times only."""
        return canonical_json(self)


class Consolidation:
    """The consolidated records of one folder.

    Parameters
    ----------
    path : Path
        The consolidation's file.
    folder : Path
        Where the records' own files lie.
    read : callable
        Returns a record by its id from its own file, or None.
    warn : callable
        Told of a damaged consolidation.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        read: Callable[[str], Record | None],
        warn: Callable[[str], None],
    ) -> None:
        self._path = path
        self._folder = folder
        self._read = read
        self._warn = warn

    def records(
        self, wanted: Container[str] | None = None, details: bool = True
    ) -> Iterator[Record]:
        """Yield all records, or those of the wanted ids, sorted by id.

        Without ``details`` the metrics by class and by epoch may be missing; the metric
        ``tested_epochs`` then tells how many epochs were tested.
        One chunk is held in memory at a time. The consolidation is written anew when many records
        are not in it; where that is not possible, reading is slow and nothing else.
        """
        there = _stamps(self._folder)
        stored = self._open()
        if wanted is None and _is_outdated(there, stored.stamps):
            with stored, contextlib.suppress(StorageError):
                self._write(there, self._merged(there, stored))
            stored = self._open()
        if wanted is not None:
            there = {name: stamp for name, stamp in there.items() if name in wanted}
        with stored:
            yield from self._merged(there, stored, details)

    def _merged(
        self, there: Mapping[str, Stamp], stored: _Stored, details: bool = True
    ) -> Iterator[Record]:
        known = {name for name, stamp in there.items() if stored.stamps.get(name) == stamp}
        fresh = (self._read(name) for name in sorted(there.keys() - known))
        read = (record for record in fresh if record is not None)
        return heapq.merge(self._known(known, stored, details), read, key=itemgetter("id"))

    def _known(self, known: set[str], stored: _Stored, details: bool) -> Iterator[Record]:
        for number, names in enumerate(stored.chunks):
            live = [name for name in names if name in known]
            if live:
                yield from self._chunk(number, live, stored, details)

    def _chunk(
        self, number: int, live: Sequence[str], stored: _Stored, details: bool
    ) -> list[Record]:
        try:
            by_id = {record["id"]: record for record in stored.chunk(number, details)}
            return [by_id[name] for name in live]
        except Exception as error:  # damaged bytes make zipfile and JSON raise almost anything
            self._discard(error)
        return [record for name in live if (record := self._read(name)) is not None]

    def _open(self) -> _Stored:
        try:
            return _Stored.open(self._path)
        except FileNotFoundError:
            return _Stored()
        except Exception as error:  # as above
            self._discard(error)
            return _Stored()

    def _discard(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self._warn(f"{self._path} cannot be used ({reason}). The records are read one by one")
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _write(self, there: Mapping[str, Stamp], records: Iterator[Record]) -> None:
        parts: dict[str, int] = {}
        chunks: list[list[Any]] = []
        with (
            replacing(self._path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            while chunk := list(islice(records, _CHUNK)):
                divided = [_divided(record, parts) for record in chunk]
                apart = [_taken_apart(record) for record in divided]
                archive.writestr(_RECORDS.format(len(chunks)), json.dumps(divided))
                archive.writestr(_DETAILS.format(len(chunks)), json.dumps(apart))
                chunks.append([[record["id"], *there[record["id"]]] for record in chunk])
            archive.writestr(_PARTS, f"[{','.join(parts)}]")
            index = {"format": _FORMAT, "record_schema": RECORD_SCHEMA, "chunks": chunks}
            archive.writestr(_INDEX, json.dumps(index))


@dataclass
class _Stored(contextlib.AbstractContextManager["_Stored"]):
    """An open consolidation; by default an empty one."""

    archive: zipfile.ZipFile | None = None
    chunks: Sequence[Sequence[str]] = ()
    """The ids in each chunk."""
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    parts: Sequence[Part] = ()

    @classmethod
    def open(cls, path: Path) -> _Stored:
        archive = zipfile.ZipFile(path)
        try:
            index = json.loads(archive.read(_INDEX))
            if (index["format"], index["record_schema"]) != (_FORMAT, RECORD_SCHEMA):
                archive.close()
                return cls()
            files = [[(name, Stamp(*stamp)) for name, *stamp in one] for one in index["chunks"]]
            parts = [Part(part) for part in json.loads(archive.read(_PARTS))]
        except BaseException:
            archive.close()
            raise
        names = [[name for name, _ in chunk] for chunk in files]
        stamps = {name: stamp for chunk in files for name, stamp in chunk}
        return cls(archive, names, stamps, parts)

    def chunk(self, number: int, details: bool) -> list[Record]:
        """Return the records of a chunk; zipfile compares their checksum."""
        if self.archive is None:
            raise DamagedFileError("it is closed")
        text = self.archive.read(_RECORDS.format(number))
        with uncollected():
            # All records of a chunk in one call: the decoder then holds each key once.
            records = [_joined(record, self.parts) for record in json.loads(text)]
            if details:
                apart = json.loads(self.archive.read(_DETAILS.format(number)))
                for record, detail in zip(records, apart, strict=True):
                    if detail:
                        record["metrics"].pop(TESTED_EPOCHS, None)
                        record["metrics"].update(detail)
        return records

    def __exit__(self, *exception: object) -> None:
        if self.archive is not None:
            self.archive.close()


def _stamps(folder: Path) -> dict[str, Stamp]:
    """Return the records' files by id."""
    found = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            name, suffix = os.path.splitext(entry.name)
            if suffix == ".json" and name.startswith("cell-"):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    found[name] = Stamp(status.st_mtime_ns, status.st_size)
    return found


def _is_outdated(there: Mapping[str, Stamp], stored: Mapping[str, Stamp]) -> bool:
    fresh = sum(stored.get(name) != stamp for name, stamp in there.items())
    return fresh >= max(LEAST, len(there) / _SHARE)


def _divided(record: Record, parts: dict[str, int]) -> Record:
    """Return a record with the places of its shared parts instead of the parts."""
    divided = {
        **record,
        **{section: {**record[section]} for section in _SHARED if section in record},
    }
    for section, keys in _SHARED.items():
        holder = divided.get(section, {}) if section else divided
        for key in keys:
            if isinstance(value := holder.get(key), dict):
                holder[key] = parts.setdefault(json.dumps(value), len(parts))
    return divided


def _taken_apart(record: Record) -> Record:
    """Take the details out of a record that :func:`_divided` made; return them."""
    metrics = dict(record.get("metrics", {}))
    details = {key: metrics.pop(key) for key in _OF_DETAILS if key in metrics}
    if details:
        tested = len(details.get("curve", {}).get("accuracy", ()))
        record["metrics"] = metrics | ({TESTED_EPOCHS: tested} if tested else {})
    return details


def _joined(record: Record, parts: Sequence[Part]) -> Record:
    """Put the shared parts into a record that :func:`_divided` made."""
    for section, keys in _SHARED.items():
        holder = record.get(section, {}) if section else record
        for key in keys:
            if type(place := holder.get(key)) is int:
                holder[key] = parts[place]
    return record
