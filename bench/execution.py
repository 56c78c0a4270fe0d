"""Runs a plan's cells on this machine: skips what is done, keeps what is complete."""

from __future__ import annotations

import decimal
import os
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.asking import telling
from bench.errors import DataError, DeviceError, UsageError
from bench.launching import check_processes
from bench.metering import keep_freed_memory
from bench.packing import Crew, Setting, packed_cells
from bench.progress import Ahead, Progress
from bench.protocols import Load
from bench.resources import crowding
from bench.team import threads_of_each
from bench.working import State, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cells import Cell, Plan
    from bench.datasets import Source
    from bench.results import Results

_POLL_S = 0.5
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")
SMALL_SIDE = 16
"""Pixels; smaller images are trained on one thread."""


@dataclass
class Outcome:
    """How a run ended."""

    computed: list[str] = field(default_factory=list)
    """Ids of cells that this run computed."""
    found: list[str] = field(default_factory=list)
    """Ids of cells that were complete before, or that another worker completed."""
    failed: list[str] = field(default_factory=list)
    """Ids of cells that failed."""

    def of(self, state: State) -> list[str]:
        """Return the list that a cell in this state belongs to."""
        lists: dict[State, list[str]] = {
            State.COMPUTED: self.computed,
            State.FOUND: self.found,
            State.FAILED: self.failed,
        }
        return lists[state]


def pending_cells(plan: Plan, results: Results) -> list[Cell]:
    """Return the plan's cells without a valid record, in the plan's order."""
    return [cell for cell in plan.cells if results.record(cell.id) is None]


def check_data(cells: Sequence[Cell], source: Source) -> None:
    """Raise a DataError where what lies at the source is not what the cells were planned for.

    A plan is run later, elsewhere and from another place, and its cells' ids tell the data set.
    """
    for cell in {(cell.dataset, cell.fingerprint): cell for cell in cells}.values():
        found = cell.dataset.fingerprint(source)
        if found != cell.fingerprint:
            place = "" if source.path is None else f" in {source.path}"
            raise DataError(
                f"the cells were planned for other images than {cell.dataset.spec}{place} has: "
                f"{cell.fingerprint}, not {found}. Name theirs with --data, or plan anew: bench run"
            )


def check_budgets(cells: list[Cell], source: Source) -> None:
    """Raise a UsageError for a budget that would leave a class of the training split empty."""
    if not cells:
        return
    counts = cells[0].dataset.training_counts(source)
    smallest = min(counts.values(), default=0)
    for budget in {cell.budget: None for cell in cells}:
        kept = budget.images_by_class(list(counts.values()))
        if kept.min(initial=1) == 0:
            name = list(counts)[int(kept.argmin())]
            raise UsageError(
                f"ratio {budget.label} leaves class '{name}' ({counts[name]} training images) "
                f"empty. Give at least {_percent_for(smallest)}"
            )


def _percent_for(images: int) -> str:
    """Return a short percent of which a class of this size surely keeps one image."""
    upwards = decimal.Context(prec=2, rounding=decimal.ROUND_CEILING)
    return f"{upwards.divide(decimal.Decimal(100), decimal.Decimal(max(images, 1))):f}"


def check_device_name(asked: str) -> None:
    """Raise a DeviceError for what is no name of a device, whether it is there or not."""
    if _DEVICE.fullmatch(asked) is None:
        raise DeviceError(f"device '{asked}' is not known. Give auto, cpu, cuda or cuda:N")


def resolve_device(asked: str) -> str:
    """Return the device to use: ``auto`` takes a GPU when there is one.

    Raises
    ------
    DeviceError
        When the device asked for is not there, or torch cannot be loaded.
    """
    check_device_name(asked)
    try:
        import torch
    except ImportError as error:  # as under a limit of ulimit -v, which its libraries exceed
        raise DeviceError(
            f"torch cannot be loaded: {error}. Raise the limit of memory where there is one "
            "(ulimit -v tells it; torch wants several GB), or install torch anew"
        ) from error
    if asked == "cpu":
        return asked
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return "cuda" if gpus else "cpu"
    if int(asked.partition(":")[2] or 0) >= gpus:
        raise DeviceError(
            f"device '{asked}' is not there: torch sees {gpus} CUDA devices. "
            "Use --device cpu, or auto"
        )
    return asked


def default_threads(side: int) -> int:
    """Return the CPU threads that pay for images of this side, in pixels; imports torch.

    Two threads gain nothing on the digits, and wait for each other at every layer when another
    process wants the second core: 102 s instead of 27 s were measured for one sweep.
    """
    import torch

    return 1 if side <= SMALL_SIDE else torch.get_num_threads()


def execute(
    plan: Plan,
    results: Results,
    source: Source,
    device: str,
    progress: Progress | None = None,
    threads: int | None = None,
    pack: int | None = 1,
    tells_killed: bool = True,
    gpus_per_cell: int = 1,
) -> Outcome:
    """Compute the plan's cells that have no record yet.

    Cells that another worker holds are left to it and looked at again at the end; so are those
    that need an artefact which another one makes. A cell that fails leaves a failure record, and
    the others go on.

    Parameters
    ----------
    threads : int, optional
        CPU threads of torch; None takes what :func:`default_threads` says.
    pack : int, optional
        Cells at a time, each in a process of its own; None takes what
        :func:`bench.packing.packed_cells` says.
    tells_killed : bool
        Whether a cell that a killed process left behind gets a failure, and is computed last.
    gpus_per_cell : int
        Processes that train a cell together, each on a GPU of its own or all on the processor.
        Cells are then computed one at a time.

    Raises
    ------
    DeviceError
        When there are too few GPUs for a cell.
    StorageError
        When results can no longer be written; what is complete stays.
    """
    progress = progress or Progress()
    pending = pending_cells(plan, results)
    waiting = {cell.id for cell in pending}
    outcome = Outcome(found=[cell.id for cell in plan.cells if cell.id not in waiting])
    if not pending:
        return outcome
    check_processes(device, gpus_per_cell)
    dataset = pending[0].dataset
    available = sum(dataset.training_counts(source).values())
    work = {cell.id: images_seen(cell, available) for cell in pending}
    progress.begin(Ahead(work, len(outcome.found), results.recorded))
    side = dataset.side(source)
    used = threads or default_threads(side)
    packed = 1
    if gpus_per_cell == 1:
        packed = min(len(pending), packed_cells(pack, device, side, used))
    _warn_of_slowness(results, device, used, packed, gpus_per_cell)
    setting = Setting(results.folder, source, device, used, packed, tells_killed, gpus_per_cell)
    queue = deque(pending)
    if packed == 1:
        prepare_torch(used)
        splits = dataset.load(source)
        worker = Worker(results, splits, device, progress, 1, tells_killed, gpus_per_cell, source)
        _work_through(queue, Alone(worker), outcome, results, progress)
        if queue:
            results.warn(
                f"{device} takes no more work from this process since a cell failed on it. The "
                f"other cells ({len(queue)}) are computed in a process of their own"
            )
    if queue:
        with Crew(setting, results, progress) as crew:
            _work_through(queue, crew, outcome, results, progress)
    progress.end()
    return outcome


def _warn_of_slowness(
    results: Results, device: str, threads: int, packed: int, processes: int
) -> None:
    """Tell of more threads than cores, and of processes that share a processor."""
    together = processes if processes > 1 else packed
    each = threads if processes == 1 else threads_of_each(threads, processes)
    total = each * together if device == "cpu" else each  # beside a GPU most of them wait
    if told := crowding(total, "Give fewer with --threads or --pack"):
        results.warn(told)
    if device == "cpu" and processes > 1:
        results.warn(
            f"{processes} processes train a cell together on a processor, which is for trying that "
            "out: one is usually faster. Leave --gpus-per-cell"
        )


class Alone:
    """A crew of this process alone."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._cell: Cell | None = None
        self._waits = True

    @property
    def is_over(self) -> bool:
        """Whether this process can compute nothing any more."""
        return self._worker.has_lost_device

    @property
    def is_busy(self) -> bool:
        """Whether a cell is to be computed."""
        return self._cell is not None

    @property
    def has_room(self) -> bool:
        """Whether no cell is to be computed."""
        return self._cell is None

    def give(self, cell: Cell, waits: bool) -> None:
        """Take a cell, and whether to wait for an artefact that another worker makes."""
        self._cell, self._waits = cell, waits

    def ended(self) -> list[tuple[Cell, State]]:
        """Compute the cell; return it with what became of it."""
        cell, self._cell = self._cell, None
        assert cell is not None
        return [(cell, self._worker.attend(cell, self._waits))]


def _work_through(
    queue: deque[Cell], crew: Crew | Alone, outcome: Outcome, results: Results, progress: Progress
) -> None:
    """Have cells computed until none is left in the queue, or the crew is over.

    What another worker computes or makes is passed over while there are other cells.
    """
    passed_over: dict[str, State] = {}
    """Why, for those since a cell was last completed."""
    while (queue or crew.is_busy) and not crew.is_over:
        while queue and crew.has_room:
            cell = queue.popleft()
            crew.give(cell, waits=cell.id in passed_over)
        for cell, state in crew.ended():
            if state in (State.HELD_ELSEWHERE, State.MISSES_ARTEFACT, State.LEFT):
                queue.append(cell)
                if state is not State.LEFT:
                    passed_over[cell.id] = state
            else:
                outcome.of(state).append(cell.id)
                passed_over.clear()
        if queue and all(passed_over.get(one.id) is State.HELD_ELSEWHERE for one in queue):
            count = "1 cell" if len(queue) == 1 else f"{len(queue)} cells, the first"
            progress.waiting(f"{count} computed by {results.leases.holder(queue[0].id)}")
            time.sleep(_POLL_S)


def prepare_torch(threads: int) -> None:
    """Set torch up for training: threads, memory, and what is read at the first use."""
    # cuBLAS is deterministic only with a fixed workspace, read when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(threads)
    keep_freed_memory()


def images_seen(cell: Cell, available: int) -> int:
    """Return the training images that a cell's run goes through, repetitions counted."""
    return cell.protocol.images_seen(expected_load(cell, available))


def expected_load(cell: Cell, available: int) -> Load:
    """Return what a cell's training is expected to get through; its method may keep otherwise."""
    with telling(cell.method, "expected_images()"):
        images = cell.method.expected_images(cell.budget, available)
    share = cell.budget.share if cell.method.budgeted else images / max(available, 1)
    return Load(images, available, share)
