"""Joins the results folders of several machines; what they tell otherwise is nobody's result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data_names import NAMES, read_names
from bench.errors import DamagedFileError, UsageError
from bench.identity import digest
from bench.records import read_record
from bench.results import CONFLICTS, PICTURES, RELEASED, STUDIES, Results
from bench.storage import read_json, replacing, set_aside, told_as_storage_error

Record = dict[str, Any]
Warn = Callable[[str], None]
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Version:
    """What one folder says of a cell that another folder tells otherwise."""

    folder: str
    accuracy: float
    host: str
    device: str
    code: str
    """Digest of the code's source."""
    kept: str
    """Where the record lies now."""

    @property
    def words(self) -> str:
        """The version in one line."""
        origin = f"{self.host}, {self.device}, code {self.code[:8]}"
        return f"{self.accuracy:.2f} % in {self.folder} ({origin})"


@dataclass(frozen=True)
class Conflict:
    """A cell with other numbers in other folders."""

    id: str
    versions: Sequence[Version]


@dataclass
class Merged:
    """What a merge has done."""

    records: int = 0
    """Records that were taken."""
    duplicates: int = 0
    """Records of the sources that were there already, with the same numbers."""
    failures: int = 0
    artefacts: int = 0
    plans: int = 0
    damaged: list[str] = field(default_factory=list)
    """Files that were left out, as they are not whole."""
    other_artefacts: list[str] = field(default_factory=list)
    """Ids of artefacts of which another folder has other bytes; the first one's are kept."""
    conflicts: list[Conflict] = field(default_factory=list)


def merge(sources: Sequence[Path], into: Path, warn: Warn) -> Merged:
    """Join results folders into one, which may have results itself; the sources stay as they are.

    Records, plans and artefacts are hard links where the file system allows, copies elsewhere; the
    report's studies, pictures and index files come too, and the names of data sets. Doing it again
    takes what is new. Two records of a cell are duplicates when their metrics and the digests of
    the trained weights are equal. Where they are not, no version is a result: all are kept in
    ``conflicts/CELL/``, and the cell counts as not computed. A record that was computed or copied
    back since then stays, until a source says something else.

    Parameters
    ----------
    sources : sequence of Path
        Results folders.
    into : Path
        Where everything goes; made when it is not there.
    warn : callable
        Told of each file that was left out because it is damaged.

    Raises
    ------
    UsageError
        When a source is no results folder, or one folder is named twice.
    StorageError
        When `into` is no results folder, a newer bench wrote a record, or nothing can be written.
    """
    named = [folder.resolve() for folder in (*sources, into)]
    if len(set(named)) < len(named):
        raise UsageError("one folder is named twice. Name each source once, and --into another one")
    for folder in sources:
        Results(folder, named="as a source").require()
    results = Results(into, warn, named="with --into")
    results.prepare()
    job = _Merge([into, *sources], warn)
    job.records()
    job.failures(results)
    job.plans()
    job.artefacts()
    job.others()
    return job.done


class _Merge:
    """One merge; the first folder is the one that everything goes into."""

    def __init__(self, folders: Sequence[Path], warn: Warn) -> None:
        self.done = Merged()
        self._folders = folders
        self._into = folders[0]
        self._warn = warn
        self._in_conflict: set[str] = set()

    def records(self) -> None:
        for name, versions in self._read_all("records"):
            told: dict[str, tuple[Path, Record]] = {}
            for folder, record in versions:
                told.setdefault(digest(_numbers(record), 4), (folder, record))
            if len(told) > 1:
                if not self._is_settled(name, told):
                    self._keep_aside(name, told)
                continue
            is_new = versions[0][0] != self._into
            self.done.records += is_new
            self.done.duplicates += len(versions) - 1
            if is_new:
                self._take(versions[0][0] / "records" / name)

    def failures(self, results: Results) -> None:
        """Take the newest failure of each cell that is complete nowhere."""
        for name, versions in self._read_all("failures"):
            cell = Path(name).stem
            newest, _ = max(versions, key=lambda version: _finished(version[1]))
            if (
                newest != self._into
                and cell not in self._in_conflict
                and results.record(cell) is None
            ):
                _copy(newest / "failures" / name, self._into / "failures" / name)
                self.done.failures += 1

    def plans(self) -> None:
        for name, folders in _holders(self._folders, "plans", ".json"):
            if folders[0] != self._into:
                self._take(folders[0] / "plans" / name)
                self.done.plans += 1

    def artefacts(self) -> None:
        for name, folders in _holders(self._folders, "artefacts", ""):
            places = [folder / "artefacts" / name for folder in folders]
            manifests = {place: self._manifest(place) for place in places}
            whole = {place: known for place, known in manifests.items() if known is not None}
            if len({known["data_checksum"] for known in whole.values()}) > 1:
                self.done.other_artefacts.append(name)
            if not whole or self._into / "artefacts" / name in whole:
                continue
            with replacing(self._into / "artefacts" / name) as temporary:
                temporary.mkdir()
                for path in next(iter(whole)).iterdir():
                    _link_or_copy(path, temporary / path.name)
            self.done.artefacts += 1

    def others(self) -> None:
        """Take what is of no one cell; of the same name the first folder's is kept."""
        for source in self._folders[1:]:
            for kind in (STUDIES, PICTURES, RELEASED):
                for path in sorted((source / kind).rglob("[!.]*")):
                    target = self._into / path.relative_to(source)
                    if path.is_file() and not target.exists():
                        _copy(path, target)
            self._names(source)

    def _names(self, source: Path) -> None:
        """Take the names of data sets where there are none; tell those that are left out."""
        theirs, target = read_names(source, self._warn), self._into / NAMES
        if theirs and not target.exists():
            _copy(source / NAMES, target)
        elif left := sorted(theirs.keys() - read_names(self._into, self._warn).keys()):
            self._warn(f"{target} has no name for {', '.join(left)}. {source / NAMES} has one")

    def _read_all(self, kind: str) -> Iterator[tuple[str, list[tuple[Path, Record]]]]:
        """Yield the names of a kind's files, with what the folders that have it say, in order."""
        for name, folders in _holders(self._folders, kind, ".json"):
            read = ((folder, self._read(folder / kind / name)) for folder in folders)
            versions = [(folder, record) for folder, record in read if record is not None]
            if versions:
                yield name, versions

    def _read(self, path: Path) -> Record | None:
        """Return a record, or None for one that is damaged or has just gone."""
        try:
            return read_record(path)
        except DamagedFileError as error:
            self._leave_out(path, error)
        except FileNotFoundError:
            pass  # a worker has just ended that failure
        return None

    def _manifest(self, place: Path) -> Record | None:
        try:
            return read_json(place / _MANIFEST)
        except (DamagedFileError, OSError) as error:
            self._leave_out(place, error)
            return None

    def _leave_out(self, path: Path, error: Exception) -> None:
        """Tell of damage; a source is not touched, what is in the way of a good one is."""
        self.done.damaged.append(str(path))
        self._warn(f"{error}. Left out")
        if path.is_relative_to(self._into):
            set_aside(path)

    def _take(self, path: Path) -> None:
        target = self._into / path.parent.name / path.name
        with told_as_storage_error(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(path, target)

    def _is_settled(self, name: str, told: Mapping[str, tuple[Path, Record]]) -> bool:
        """Return whether `into` has a record though all that the sources say was known before."""
        place = self._into / CONFLICTS / Path(name).stem
        folders = [folder for folder, _ in told.values()]
        others = [number for number, (folder, _) in told.items() if folder != self._into]
        return self._into in folders and all((place / f"{one}.json").exists() for one in others)

    def _keep_aside(self, name: str, told: Mapping[str, tuple[Path, Record]]) -> None:
        cell = Path(name).stem
        place = self._into / CONFLICTS / cell
        versions = []
        for number, (folder, record) in told.items():
            kept = place / f"{number}.json"
            _copy(folder / "records" / name, kept)
            versions.append(_version(folder, record, kept))
        result = self._into / "records" / name
        with told_as_storage_error(result):
            result.parent.mkdir(exist_ok=True)  # for the version that somebody copies back
            result.unlink(missing_ok=True)
        self._in_conflict.add(cell)
        self.done.conflicts.append(Conflict(cell, versions))


def _holders(folders: Iterable[Path], kind: str, suffix: str) -> Iterator[tuple[str, list[Path]]]:
    """Yield each file's or folder's name of a kind, sorted, with the folders that have it."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        try:
            names = os.listdir(folder / kind)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            # Temporary files begin with a dot; what was set aside ends with .damaged-...
            if not name.startswith(".") and Path(name).suffix == suffix:
                found.setdefault(name, []).append(folder)
    yield from sorted(found.items())


def _numbers(record: Record) -> list[Any]:
    return [record["metrics"], record.get("weights_digest")]


def _finished(failure: Record) -> str:
    return str(failure.get("provenance", {}).get("finished", ""))


def _version(folder: Path, record: Record, kept: Path) -> Version:
    origin = record["provenance"]
    return Version(
        folder=str(folder),
        accuracy=record["metrics"]["accuracy"],
        host=origin.get("machine", {}).get("host", "unknown host"),
        device=origin["device"]["device"],
        code=origin.get("source", {}).get("digest", "unknown"),
        kept=str(kept),
    )


def _link_or_copy(path: Path, target: Path) -> None:
    """Make a file stand at another place too; it is never written again, so a link will do."""
    try:
        os.link(path.resolve(), target)
    except FileExistsError:
        pass  # another worker was quicker
    except OSError:
        _copy(path, target)


def _copy(path: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copy2(path, temporary)
