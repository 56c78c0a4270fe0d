"""Packing: several cells at a time on one device, each computed by a process of its own.

A process has random streams, memory and failures of its own: packed cells are bit for bit those
that are computed one after the other, and one that is killed takes no other with it. On a GPU the
processes share it in slices of time, or truly at once where NVIDIA's MPS runs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bench import errors, resources
from bench.cells import Cell
from bench.errors import BenchError, ProcessError
from bench.progress import Progress
from bench.shielding import shielded
from bench.working import State, Worker, tell_killed

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from bench.datasets import Source
    from bench.results import Results

MOST = 5
"""Cells at a time that ``auto`` takes at most on a GPU."""
FILLING_SIDE = 64
"""Pixels; a batch of larger images fills a GPU."""
_GPU_BYTES, _CPU_BYTES = 8e9, 1.5e9
"""Memory that ``auto`` allows for a process, on the device and beside it."""
_TOLD_EVERY_S = 0.2
_GRACE_S = 10.0


def packed_cells(asked: int | None, device: str, side: int, threads: int) -> int:
    """Return how many cells to compute at a time.

    Parameters
    ----------
    asked : int or None
        None for ``auto``: on a processor as many as have ``threads`` cores each; on a GPU up to
        :data:`MOST` where images are small and MPS lets processes work at once; both as far as
        memory allows.
    side : int
        The images' shorter side in pixels.
    """
    if asked is not None:
        return asked
    room = int(resources.available_memory() // _CPU_BYTES)
    if device.startswith("cuda"):
        if side > FILLING_SIDE or not mps_runs():
            return 1
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return max(1, min(MOST, room, int(free // _GPU_BYTES)))
    return max(1, min(resources.cores() // threads, room))


def mps_runs() -> bool:
    """Return whether NVIDIA's MPS is there, through which processes use a GPU at once."""
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return Path(folder, "control").exists()


@dataclass(frozen=True)
class Setting:
    """What every process of a crew is told when it starts."""

    results: Path
    source: Source
    device: str
    threads: int
    packed: int
    tells_killed: bool = True
    processes: int = 1


@dataclass
class _Member:
    """A process of a crew, and what it is doing."""

    process: BaseProcess
    connection: Connection
    cell: Cell | None = None
    phase: str = "unknown"


class Crew:
    """Processes that compute cells; one that dies, or whose GPU fails under it, is replaced.

    Parameters
    ----------
    setting : Setting
        What they are told.
    results : Results
        Where the failure of a cell is written whose process died.
    progress : Progress
        Is told what they tell, cell by cell.
    """

    def __init__(self, setting: Setting, results: Results, progress: Progress) -> None:
        self._setting = setting
        self._results = results
        self._progress = progress
        self._members: list[_Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes; they give their leases back."""
        try:
            for member in self._members:
                member.process.terminate()
            limit = time.monotonic() + _GRACE_S
            for member in self._members:
                member.process.join(max(0.0, limit - time.monotonic()))
        finally:  # also where a second signal ends the waiting: at exit Python waits for ever
            for member in self._members:
                member.process.kill()
                member.connection.close()

    @property
    def is_over(self) -> bool:
        """Whether nothing can be computed any more: never, processes are replaced."""
        return False

    @property
    def is_busy(self) -> bool:
        """Whether a cell is being computed."""
        return any(member.cell is not None for member in self._members)

    @property
    def has_room(self) -> bool:
        """Whether another cell can be begun."""
        return sum(member.cell is not None for member in self._members) < self._setting.packed

    def give(self, cell: Cell, waits: bool) -> None:
        """Have a cell computed; processes that died while they were idle are replaced.

        Parameters
        ----------
        waits : bool
            Whether to wait for an artefact that another worker makes, or leave the cell.
        """
        for member in [one for one in self._members if one.cell is None]:
            if _told(member, cell, waits):
                return
            self._forget(member)
        # One that dies before it is told is heard of by ended(), as any that dies with its cell.
        _told(self._hired(), cell, waits)

    def ended(self) -> list[tuple[Cell, State]]:
        """Wait until something is told; return the cells that have ended."""
        busy = {member.connection: member for member in self._members if member.cell is not None}
        over = []
        for ready in wait(list(busy)):
            member = busy[ready]  # type: ignore[index]
            cell = member.cell
            assert cell is not None
            state = self._heard(member, cell)
            if state is not None:
                member.cell = None
                over.append((cell, state))
        return over

    def _hired(self) -> _Member:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # No daemon: those may have no children, and images stream through some.
        process = context.Process(target=serve, args=(theirs, self._setting))
        with shielded():
            process.start()
        theirs.close()
        self._members.append(_Member(process, ours))
        return self._members[-1]

    def _heard(self, member: _Member, cell: Cell) -> State | None:
        """Pass on what a process tells; return what became of its cell once that is known."""
        try:
            event, *told = member.connection.recv()
        except (EOFError, OSError):
            return self._buried(member, cell)
        if event == "ended":
            state, has_lost_device = told
            if has_lost_device:
                self._forget(member)
            return State(state)
        if event == "broken":
            raise _broken(*told)
        if event == "warning":
            self._results.warn(told[0])
            return None
        if event == "stage":
            member.phase = told[0]
        self._progress.about(cell)
        of_cell = [cell] if event.startswith("cell_") else []
        getattr(self._progress, event)(*of_cell, *told)
        return None

    def _buried(self, member: _Member, cell: Cell) -> State:
        """Write down that a process died with its cell."""
        self._forget(member)
        owner = f"{member.process.pid} ({_ending(member.process.exitcode)})"
        with self._results.leases.taken(cell.id):  # its lease is stale, and gone after this
            failure = tell_killed(cell, self._results, owner, self._setting.device, member.phase)
        self._progress.cell_failed(cell, failure)
        return State.FAILED

    def _forget(self, member: _Member) -> None:
        member.process.join(_GRACE_S)
        if member.process.is_alive():  # a GPU that has failed may keep it from ending
            member.process.kill()
            member.process.join()
        member.connection.close()
        self._members.remove(member)


def _told(member: _Member, cell: Cell, waits: bool) -> bool:
    """Have a process compute a cell; return whether it could still be told."""
    member.cell, member.phase = cell, "unknown"
    try:
        member.connection.send((cell.identity(), waits))
    except OSError:
        return False
    return True


def _broken(kind: str, message: str, shown: str) -> BenchError:
    """Return what stopped a process: the same error where it is ours, else with its traceback."""
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, BenchError) and known is not ProcessError:
        return known(message)
    return ProcessError(kind, f"{kind}: {message}", shown)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


class _Stopped(BaseException):
    """The crew ends; the lease is given back on the way out."""


def serve(connection: Connection, setting: Setting) -> None:
    """Compute the cells whose identities come in, until the crew ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the crew's own to answer
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(_Stopped, EOFError, BrokenPipeError):
        _answer(connection, setting)


def _answer(connection: Connection, setting: Setting) -> None:
    """Tell what became of each cell, or what this process cannot go on from."""
    try:
        for state, has_lost_device in _attended(connection, setting):
            connection.send(("ended", state.value, has_lost_device))
            if has_lost_device:
                return
    except (EOFError, BrokenPipeError):
        raise
    except Exception as error:
        kind, message = type(error).__name__, str(error) or "no message"
        connection.send(("broken", kind, message, traceback.format_exc()))


def _attended(connection: Connection, setting: Setting) -> Iterator[tuple[State, bool]]:
    """Yield what became of each cell, and whether the device is lost to this process."""
    from bench.execution import prepare_torch
    from bench.results import Results

    def warn(message: str) -> None:
        connection.send(("warning", message))

    results = Results(setting.results, warn)
    source = replace(setting.source, feed=setting.source.feed.shared_by(setting.packed))
    worker: Worker | None = None
    while True:
        identity, waits = connection.recv()
        cell = Cell.from_identity(identity)
        if worker is None:
            prepare_torch(setting.threads)
            splits = cell.dataset.load(source)
            worker = Worker(
                results,
                splits,
                setting.device,
                _Telling(connection),
                setting.packed,
                setting.tells_killed,
                setting.processes,
                source,
            )
        yield worker.attend(cell, waits), worker.has_lost_device


def _stop(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise _Stopped


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


class _Telling(Progress):
    """Sends the events of a cell to the crew; stages now and then."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._told = 0.0

    def cell_started(self, cell: Cell) -> None:
        """Tell that a cell begins."""
        self._connection.send(("cell_started",))

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell now and then how far a stage has come."""
        self._seldom("stage", stage, done, total)

    def shared_begins(self) -> None:
        """Tell that what is made is for others too."""
        self._connection.send(("shared_begins",))

    def shared_ends(self) -> None:
        """Tell that it is made."""
        self._connection.send(("shared_ends",))

    def waiting(self, reason: str) -> None:
        """Tell now and then what is waited for."""
        self._seldom("waiting", reason)

    def cell_postponed(self, cell: Cell) -> None:
        """Tell that a cell is left for later."""
        self._connection.send(("cell_postponed",))

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell the record."""
        self._connection.send(("cell_finished", record))

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Tell the failure."""
        self._connection.send(("cell_failed", failure))

    def cell_elsewhere(self, cell: Cell) -> None:
        """Tell that another run was quicker."""
        self._connection.send(("cell_elsewhere",))

    def _seldom(self, *event: Any) -> None:
        if time.monotonic() - self._told > _TOLD_EVERY_S:
            self._told = time.monotonic()
            self._connection.send(event)
