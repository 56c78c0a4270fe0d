"""The worker: what a job runs. It holds data alone, and finds its state on disk."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit

from bench import planfiles
from bench.allocation import BEGAN, tell_job
from bench.cells import Cell, Plan
from bench.contract import METHODS
from bench.datasets import Source
from bench.errors import BenchError, DamagedFileError, DeviceError, ProcessError, StorageError
from bench.provenance import RESTARTS
from bench.results import Results
from bench.shielding import WARNING
from slurm import commands, squeue
from slurm.codes import code_digest
from slurm.log import Log
from slurm.making import make_artefacts
from slurm.needs import artefacts_of
from slurm.requests import BLOCKED, Stage
from slurm.signals import Stopped, end_of, is_of_the_limit, stopping

if TYPE_CHECKING:
    from bench.execution import Outcome

SOME_FAILED = 1
_MOST_RESTARTS = 50
_MOST_IDLE_RESTARTS = 3
"""After as many, a warning that looks like one of a preemption may be one of a time limit."""
TIME_OUT = "TimeOut"
_STALE = "the code has changed since the sweep was submitted. Submit it again: bench retry"


class StaleCode(BenchError):  # noqa: N818  # its name is told as the failure's cause
    """The code is not the one that was submitted."""


STALE_CODE = StaleCode.__name__


@dataclass(frozen=True)
class Work:
    """The callable that submitit runs in a job.

    Parameters
    ----------
    results, plan : str
        The results folder and the id of a plan in it.
    cells : tuple of str
        The cells to compute, or whose artefacts to make.
    stage : str
        ``common``, ``artefacts`` or ``cells``.
    code : str
        The digest of the code that submitted; other code refuses to run.
    minutes, gpus : int
        The time limit and the GPUs that were asked for.
    pack : int
        Cells at a time; 0 decides by the device and its memory.
    gpus_per_cell : int
        Processes that train a cell together.
    attempts : mapping
        How often cells had failed when they were submitted; one that has failed since is left.
    umask : int
        The submitting user's.
    """

    results: str
    plan: str
    cells: tuple[str, ...]
    submission: str
    stage: Stage
    code: str
    minutes: int
    gpus: int = 0
    pack: int = 1
    gpus_per_cell: int = 1
    attempts: dict[str, int] = field(default_factory=dict)
    data: str | None = None
    download: bool = False
    stream: str = "auto"
    workers: int | None = None
    device: str = "auto"
    umask: int = 0o022

    def __call__(self) -> None:
        """Do the work and exit; the exit code is 0 when no cell of the job is left."""
        os.umask(self.umask | 0o002)
        raise SystemExit(_Run(self).run())


class _Run:
    """One run of a job; a requeued job has several."""

    def __init__(self, work: Work) -> None:
        self._work = work
        tell_job(work.gpus, 60.0 * work.minutes / max(1, len(work.cells)))
        self._results = Results(Path(work.results), print)
        self._log = Log()
        self._cells: list[Cell] = []
        self._artefacts: frozenset[str] = frozenset()
        self._before: object = None
        self._limit = end_of(float(os.environ[BEGAN]), work.minutes)
        self._is_requeued = False

    def run(self) -> int:
        try:
            stop = self._worked()
            if stop is not None:
                self._end(stop)
                return SOME_FAILED
            if self._work.stage == "cells" and self._left():
                return SOME_FAILED
        except (StorageError, DamagedFileError) as error:
            print(f"error: {error}", flush=True)
            return SOME_FAILED
        _remove_own_files()
        return 0

    def _worked(self) -> Stopped | None:
        """Compute what is open; return what stopped that, or None when it is through."""
        try:
            with stopping(self._is_end):
                self._read()
                self._compute()
        except Stopped as stop:
            return stop
        return None

    def _read(self) -> None:
        """Read the plan's cells of this job; refuse to compute them with other code."""
        planned = _read_late(self._results.folder / "plans" / f"{self._work.plan}.json")
        found = {name: planned[name] for name in self._work.cells if name in planned}
        made: dict[tuple[str, str], Any] = {}
        try:
            names = {identity["method"]["name"] for identity in planned.values()}
            if code_digest({METHODS.get(name) for name in names}) != self._work.code:
                raise StaleCode(_STALE)
            self._cells = [Cell.from_identity(identity, made) for identity in found.values()]
        except BenchError as error:  # other code, or a plugin that this node has not
            told = self._failure("start", type(error).__name__, str(error))
            for name in filter(self._is_open, found):
                self._refuse(found[name], told)
            raise SystemExit(SOME_FAILED) from None

    def _refuse(self, identity: dict[str, Any], told: dict[str, Any]) -> None:
        """Write a cell's failure, also where this code knows no such cell any more."""
        try:
            cell = Cell.from_identity(identity)
        except BenchError:
            self._results.write_refusal(identity, told)
        else:
            self._results.write_failure(cell, told)

    def _compute(self) -> None:
        """Compute what has neither a record nor failed since the job was submitted."""
        open_cells = self._open()
        if not open_cells:
            return
        try:
            self._artefacts = artefacts_of(self._cells, self._results)
            self._before = self._progress()
            self._do(open_cells)
        except StorageError:
            raise
        except Exception as error:  # a data set that is missing here, a GPU that is not there
            cause, message = type(error).__name__, str(error) or "no message"
            told = "" if isinstance(error, BenchError) else traceback.format_exc()
            if isinstance(error, ProcessError):
                cause, told = error.cause, error.traceback
            self._fail_all("start", cause, message, told)

    def _do(self, cells: Sequence[Cell]) -> Outcome | None:
        from bench.execution import check_data, execute, resolve_device

        device = resolve_device(self._work.device)
        if device == "cpu" and self._work.gpus and self._work.device == "auto":
            raise DeviceError(
                f"the job has {self._work.gpus} GPUs and torch sees none. Check the node's driver "
                "and torch's CUDA build, or submit with --device cpu"
            )
        work = self._work
        source = Source.of(work.data, work.download, work.stream, work.workers)
        check_data(cells, source)
        if self._work.stage != "cells":
            make_artefacts(cells, self._work.stage, self._results, source, device, self._log)
            return None
        plan = Plan(tuple(cells))
        # What a killed job left behind is gone on from: that is no failed attempt.
        return execute(
            plan,
            self._results,
            source,
            device,
            self._log,
            pack=self._work.pack or None,
            tells_killed=False,
            gpus_per_cell=self._work.gpus_per_cell,
        )

    def _open(self) -> list[Cell]:
        return [cell for cell in self._cells if self._is_open(cell.id)]

    def _is_open(self, cell: str) -> bool:
        """Return whether a cell has neither a record nor failed since it was submitted."""
        if self._results.record(cell) is not None:
            return False
        failure = self._results.failure(cell)
        return failure is None or failure["attempt"] <= self._work.attempts.get(cell, 0)

    def _left(self) -> list[Cell]:
        return [cell for cell in self._cells if self._results.record(cell.id) is None]

    def _fail_all(self, phase: str, cause: str, message: str, told: str = "") -> None:
        failure = self._failure(phase, cause, message, told)
        for cell in self._open():
            self._results.write_failure(cell, failure)

    def _failure(self, phase: str, cause: str, message: str, told: str = "") -> dict[str, Any]:
        """Return a failure, and tell it; a job that makes artefacts blocks its cells."""
        from bench.recording import failure

        print(f"{cause}: {message}", flush=True)
        is_of_cells = self._work.stage == "cells"
        return failure(phase if is_of_cells else BLOCKED, cause, message, "cpu", told)

    def _is_end(self, number: int) -> bool:
        """Return whether a signal ends this run; a preempted job is requeued at once.

        Slurm may still run again by itself what cannot be requeued, if this run does not end first.
        """
        if number != WARNING or is_of_the_limit(time.time(), self._limit, self._work.minutes):
            return True
        restarts = _restarts()
        if restarts >= _MOST_IDLE_RESTARTS and not self._has_progress():
            refused = f"the job has been restarted {restarts} times and saved nothing since"
        else:
            refused = _requeued()
        if refused:  # it may be a print that was interrupted
            os.write(1, f"{refused}. It goes on until Slurm ends it\n".encode())
        self._is_requeued = not refused
        return self._is_requeued

    def _end(self, stop: Stopped) -> None:
        """Have the job run again where that leads anywhere; else write why its cells are left."""
        now = time.time()
        passed = f"{(now - float(os.environ[BEGAN])) / 60:.1f} of {self._work.minutes} minutes"
        print(f"{stop} after {passed}", flush=True)
        if self._is_requeued or not self._open():
            return
        if stop.number != WARNING:
            # Slurm runs a preempted job again by itself, a cancelled one never. At its limit, the
            # warning came before Python could hear it.
            refused = "the job reached its limit" if now >= self._limit else ""
        elif not self._has_progress():
            # One that got all of its time and saved nothing would do the same for ever.
            refused = f"the job saved nothing in {passed}"
        else:
            refused = _requeued()
        if refused:
            self._fail_all("time limit", TIME_OUT, f"{refused}. Give it more time: bench retry")

    def _has_progress(self) -> bool:
        """Return whether anything was saved in this run."""
        return self._progress() != self._before

    def _progress(self) -> object:
        """Return what differs once anything was saved that a restarted job goes on from."""
        own = {cell.id for cell in self._cells} | self._artefacts
        saved = {
            path.parent.name: path.stat().st_mtime_ns
            for path in (self._results.folder / "checkpoints").glob("*/newest.json")
            if path.parent.name in own
        }
        made = sum(self._results.artefacts.has(name) for name in self._artefacts)
        return saved, made, len(self._left())


def _restarts() -> int:
    return int(os.environ.get(RESTARTS, "0"))


def _requeued() -> str:
    """Have Slurm run this job again; return why it will not, or an empty text."""
    restarts = _restarts()
    if restarts >= _MOST_RESTARTS:
        return f"the job has been restarted {restarts} times"
    return commands.requeue()


def _read_late(path: Path) -> dict[str, dict[str, Any]]:
    """Return the identities of a plan that is there; a network file system may show it later."""
    limit = time.monotonic() + squeue.LATE_S
    while True:
        try:
            return planfiles.read(path)
        except FileNotFoundError as error:
            if time.monotonic() > limit:
                raise StorageError(f"cannot read {path}: {error.strerror}") from None
            time.sleep(1)


def _remove_own_files() -> None:
    """Remove the log and the pickle of this job: ten thousand cells shall leave few files."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return  # not run by submitit
    paths = submitit.JobEnvironment().paths
    for path in (paths.submitted_pickle, paths.stdout):
        with contextlib.suppress(OSError):
            path.unlink()
