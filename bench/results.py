"""Results: one file a cell. A valid record file is what makes a cell complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.artefacts import ArtefactStore
from bench.checkpoints import Checkpoint
from bench.consolidation import LEAST, Consolidation, Part
from bench.data_names import NAMES, read_names
from bench.errors import BenchError, DamagedFileError, FolderError, StorageError, UsageError
from bench.identity import canonical_json, cell_id, text_digest
from bench.leases import Leases
from bench.records import RECORD_SCHEMA, read_named, read_record, refuse_newer
from bench.storage import (
    missing_folders,
    read_json,
    remove_empty,
    require_writable,
    set_aside,
    write_json,
)

if TYPE_CHECKING:
    import pandas as pd

    from bench.cells import Cell, Plan

_MARK = "bench-results.json"
STUDIES, PICTURES, RELEASED = "studies", "pictures", "released"
"""Folders of a results folder with what is of no one cell, for its report.

Studies that no cells make, sheets of kept images, and others' index files, put there by hand.
"""
ACCOUNTS = "accounting"
"""Its folder for what Slurm told of the time of its jobs."""
CONFLICTS = "conflicts"
"""Its folder for the records of cells of which merged folders have other numbers."""
CHECKPOINT_SHARE = 0.02
"""The most that saving checkpoints may take of a training run's time."""


class Results:
    """A results folder: records, failures, artefacts, checkpoints, leases and plans.

    Parameters
    ----------
    folder : Path
        Made when something is first written.
    warn : callable
        Told of damaged files, which are set aside and computed anew.
    named : str
        How a user names the folder, for what is told of a wrong one.
    """

    def __init__(
        self,
        folder: Path,
        warn: Callable[[str], None] = lambda message: None,
        named: str = "with --results",
    ) -> None:
        self.folder = folder
        self._named = named
        self._mark = folder / _MARK
        self._saved_plans: set[Path] = set()
        self.warn = warn
        self.artefacts = ArtefactStore(folder / "artefacts", warn)
        self.leases = Leases(folder / "leases")
        self._consolidation = Consolidation(
            folder / "consolidated.zip", folder / "records", self.record, warn
        )

    def prepare(self) -> None:
        """Make the folder, or raise a FolderError when it is not one that can be written."""
        self.check()
        try:
            require_writable(self.folder)
            self._write_mark()
        except StorageError as error:
            raise FolderError(str(error)) from error

    def _write_mark(self) -> None:
        marked = self._read(self._mark, read_named)
        if marked is None or marked["schema"] < RECORD_SCHEMA:  # an older bench shall refuse it
            write_json(self._mark, {"schema": RECORD_SCHEMA, "id": self._mark.stem})

    def check(self) -> None:
        """Raise a FolderError when this is something else than a results folder, or a newer one.

        A folder that is empty or not there passes.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise FolderError(f"{self.folder} is a file. Name a folder {self._named}")
        if self._is_foreign():
            raise FolderError(
                f"{self.folder} has files but is no results folder. "
                f"Name an empty or a new folder {self._named}"
            )
        marked = self._read(self._mark, read_named)
        if marked is not None:
            try:
                refuse_newer(marked["schema"])
            except StorageError as error:
                raise FolderError(f"{self.folder} {error}") from None

    def record(self, cell_id: str) -> dict[str, Any] | None:
        """Return a cell's record, or None when there is none; a damaged one is set aside."""
        return self._read(self._record_path(cell_id))

    def failure(self, cell_id: str) -> dict[str, Any] | None:
        """Return how a cell failed last, or None."""
        return self._read(self._failure_path(cell_id))

    def write_record(self, cell: Cell, content: dict[str, Any]) -> dict[str, Any]:
        """Write a cell's record and forget its failures and its checkpoint."""
        record = {**_head(cell), **content}
        write_json(self._record_path(cell.id), record)
        self._failure_path(cell.id).unlink(missing_ok=True)
        self.checkpoint(cell.id).clear()
        return record

    def write_failure(self, cell: Cell, content: dict[str, Any]) -> dict[str, Any]:
        """Write why a cell failed; never mistaken for a result."""
        return self._write_failure(_head(cell), content)

    def write_refusal(self, identity: dict[str, Any], content: dict[str, Any]) -> None:
        """Write the failure of a cell that perhaps only another version of bench can make."""
        from bench.cells import told_of

        specs, method = told_of(identity)
        head = {
            "schema": RECORD_SCHEMA,
            "id": cell_id(identity),
            "cell": identity,
            "specs": specs,
            "method": method,
        }
        self._write_failure(head, content)

    def _write_failure(self, head: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
        before = self.failure(head["id"])
        attempt = before["attempt"] + 1 if before else 1
        failure = {**head, "attempt": attempt, **content}
        write_json(self._failure_path(head["id"]), failure)
        return failure

    def checkpoint(self, identifier: str, stamp: str = "") -> Checkpoint:
        """Return the place for the training state of a cell or an artefact."""
        return Checkpoint(self.folder / "checkpoints" / identifier, stamp, CHECKPOINT_SHARE)

    def require(self) -> None:
        """Raise a UsageError when this is no results folder."""
        if not self._mark.exists():
            raise UsageError(
                f"{self.folder} is no results folder (it has no {_MARK}). "
                f"Name one {self._named}; bench run makes it"
            )

    def save_plan(self, plan: Plan) -> Path:
        """Keep a plan, so that its state can be asked for later; a damaged file is set aside."""
        path = self._plan_path(plan)
        if self._read(path, read_json) is None:
            plan.save(path)
            self._saved_plans.add(path)
        self._write_mark()  # a run beside this one that was refused may have taken it back
        return path

    @contextmanager
    def as_before_if_refused(self) -> Iterator[None]:
        """Take back what a block makes here where it is refused before any cell has ended.

        Data that are missing may refuse it, or a device. What it made by then are the files of
        plans that were not there, folders without a file and, where nothing else lies there, the
        results folder itself. A plan that another process saved meanwhile is its own.
        """
        plans, ended = set(self._saved_plans), self._ended()
        is_new = not self._mark.exists()
        missing = missing_folders(self.folder)
        rooms = _inside(self.folder)
        try:
            yield
        except UsageError:
            if self._ended() <= ended:
                for plan in self._saved_plans - plans:
                    with suppress(OSError):  # it may be what refused: nothing can be written
                        plan.unlink()
                remove_empty(_inside(self.folder) - rooms)
                if is_new:
                    self._unmake(missing)
            raise

    def _ended(self) -> set[Path]:
        """Return the files of cells that have ended, well or not."""
        return _inside(self.folder / "records") | _inside(self.folder / "failures")

    def _unmake(self, folders: list[Path]) -> None:
        """Remove the mark and these folders, unless something else lies here."""
        if _inside(self.folder) <= {self._mark, self.folder / NAMES}:
            with suppress(OSError):
                self._mark.unlink()
            remove_empty(folders)
            if self._holds_something():  # of another run, which has begun meanwhile
                self._write_mark()

    def records(
        self, cell_ids: Iterable[str] | None = None, details: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Yield the records of these cells, or all there are, sorted by id.

        ``data_name`` is what the folder calls the data set, where it has a name for it.

        Where there are many, objects that they share are the same ones: do not change them.
        Without ``details`` the metrics by class and by epoch may be missing; it is quicker.
        """
        wanted = None if cell_ids is None else set(cell_ids)
        if wanted is None or len(wanted) >= LEAST:
            yield from map(self._with_name_of_data, self._consolidation.records(wanted, details))
            return
        for identifier in sorted(wanted):
            record = self.record(identifier)
            if record is not None:
                yield self._with_name_of_data(record)

    def recorded(self) -> set[str]:
        """Return the ids of the cells with a record of their own, by the names of files alone."""
        try:
            names = os.listdir(self.folder / "records")
        except OSError:
            return set()
        return {name.removesuffix(".json") for name in names if name.startswith("cell-")}

    def failures(self, cell_ids: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the failures of these cells, or all there are, sorted by id.

        A cell that has a record is complete, whatever failed before or elsewhere.
        """
        if cell_ids is None:
            folder = self.folder / "failures"
            cell_ids = [path.stem for path in folder.glob("cell-*.json")]
        for identifier in sorted(cell_ids):
            failure = self.failure(identifier)
            if failure is not None and not self._record_path(identifier).exists():
                yield self._with_name_of_data(failure)

    @cached_property
    def _names_of_data(self) -> dict[str, str]:
        return read_names(self.folder, self.warn)

    def _with_name_of_data(self, content: dict[str, Any]) -> dict[str, Any]:
        name = self._names_of_data.get(content["cell"]["dataset"]["fingerprint"])
        return content if name is None else {**content, "data_name": name}

    def _is_foreign(self) -> bool:
        """Return whether there are files and no mark: one that another run takes back counts not.

        The mark is its first file, and the last one that a refused run takes back.
        """
        return not self._mark.exists() and self._holds_something() and not self._mark.exists()

    def _holds_something(self) -> bool:
        """Return whether files lie in the folder.

        Other workers' temporary ones do not count, nor does what a user calls data sets.
        """
        found = _inside(self.folder) - {self.folder / NAMES}
        return any(not path.name.startswith(".") for path in found)

    def _plan_path(self, plan: Plan) -> Path:
        return self.folder / "plans" / f"{plan.id}.json"

    def _record_path(self, cell_id: str) -> Path:
        return self.folder / "records" / f"{cell_id}.json"

    def _failure_path(self, cell_id: str) -> Path:
        return self.folder / "failures" / f"{cell_id}.json"

    def _read(
        self, path: Path, read: Callable[[Path], dict[str, Any]] = read_record
    ) -> dict[str, Any] | None:
        try:
            return read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except DamagedFileError as error:
            self.warn(f"{error}. Set aside as {set_aside(path).name}; it is computed anew")
            return None
        except OSError as error:
            raise BenchError(f"cannot read {path}: {error.strerror}. Check the folder") from error


def _inside(folder: Path) -> set[Path]:
    """Return what lies in a folder; nothing where it is none."""
    try:
        return set(folder.iterdir())
    except OSError:
        return set()


def _head(cell: Cell) -> dict[str, Any]:
    return {
        "schema": RECORD_SCHEMA,
        "id": cell.id,
        "cell": cell.identity(),
        "specs": cell.specs(),
        "method": cell.method.facts(),
    }


def load(
    folder: Path,
    cell_ids: Iterable[str] | None = None,
    warn: Callable[[str], None] = lambda message: None,
) -> pd.DataFrame:
    """Return the records of a results folder as one tidy table, a row a cell.

    Columns are the cell's axes (``method``, ``percent`` ``of`` images or bytes, ``model``,
    ``protocol``, seeds), the metrics (percent), the accounts (images, bytes) and the costs
    (seconds). ``warn`` is told of damaged files, which are left out.
    """
    import pandas as pd

    records = Results(folder, warn).records(cell_ids, details=False)
    return pd.DataFrame([flat(record) for record in records])


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as one row of plain values.

    ``method_id``, ``protocol_id`` and ``setting_id`` tell apart what has the same spec and another
    identity: a changed default or another version of the code.
    """
    cell, metrics, kept, cost = (record[k] for k in ("cell", "metrics", "compressed", "cost"))
    return {
        "id": record["id"],
        **identities(cell),
        "dataset": record["specs"]["dataset"],
        "fingerprint": cell["dataset"]["fingerprint"],
        "method": record["specs"]["method"],
        "percent": float(cell["budget"]["percent"]),
        "of": cell["budget"].get("of", "images"),
        "model": record["specs"]["model"],
        "protocol": record["specs"]["protocol"],
        "seeded": record["method"]["seeded"],
        "edition": record["method"]["edition"],
        "reconstruction": record["method"]["reconstruction"],
        "selection_seed": cell["selection_seed"],
        "training_seed": cell["training_seed"],
        "accuracy": metrics["accuracy"],
        "best_accuracy": metrics["best_accuracy"],
        "images": kept["images"],
        "bytes": kept["bytes"],
        "shared_bytes": kept.get("shared_bytes", 0),
        "full_images": kept["full_images"],
        "full_bytes": kept["full_bytes"],
        "steps": cost["steps"],
        "images_seen": cost["images_seen"],
        "selection_s": cost["selection_s"],
        "training_s": cost["training_s"],
        "testing_s": cost["testing_s"],
        "device": record["provenance"]["device"]["device"],
        "source_digest": record["provenance"]["source"]["digest"],
    }


def identities(cell: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of a cell's method, protocol and setting (data set, model, protocol)."""
    method, dataset = _canonical(cell["method"]), _canonical(cell["dataset"])
    model, protocol = _canonical(cell["model"]), _canonical(cell["protocol"])
    return {
        "method_id": _part_id(method),
        "protocol_id": _part_id(protocol),
        "setting_id": _setting_id(dataset, model, protocol),
    }


def _canonical(identity: Mapping[str, Any]) -> str:
    return identity.canonical if isinstance(identity, Part) else canonical_json(identity)


@lru_cache(maxsize=10_000)
def _part_id(part: str) -> str:
    return text_digest(part, 4)


@lru_cache(maxsize=10_000)
def _setting_id(dataset: str, model: str, protocol: str) -> str:
    return text_digest(f"[{dataset},{model},{protocol}]", 4)
