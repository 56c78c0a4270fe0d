"""Runs a plan's cells on this machine: skips what is done, keeps what is complete."""

from __future__ import annotations

import decimal
import os
import re
import time
import traceback
from collections import deque
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from bench.context import RunContext
from bench.contract import Keeps
from bench.errors import BenchError, DeviceError, StorageError, UsageError
from bench.metering import keep_freed_memory, peak_memory_bytes
from bench.progress import Progress
from bench.protocols import Load
from bench.provenance import continuation_stamp, module_facts, provenance
from bench.recording import (
    cause_of,
    engine_facts,
    metrics,
    model_facts,
    process_cost,
    selection_cost,
    training_cost,
)
from bench.selecting import select

if TYPE_CHECKING:
    from bench.cells import Cell, Plan
    from bench.checkpoints import Checkpoint
    from bench.contract import CompressedSet
    from bench.datasets import Source, Splits
    from bench.results import Results

_POLL_S = 0.5
SMALL_SIDE = 16
"""Pixels; smaller images are trained on one thread."""


class State(Enum):
    """What became of a cell that a worker attended to."""

    COMPUTED = "computed"
    FOUND = "found"
    FAILED = "failed"
    HELD_ELSEWHERE = "held elsewhere"


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


def resolve_device(asked: str) -> str:
    """Return the device to use: ``auto`` takes a GPU when there is one.

    Raises
    ------
    DeviceError
        When the device asked for is not there.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(?P<number>[0-9]+))?", asked)
    if match is None:
        raise DeviceError(f"device '{asked}' is not known. Give auto, cpu, cuda or cuda:N")
    if asked == "cpu":
        return asked
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return "cuda" if gpus else "cpu"
    if int(match["number"] or 0) >= gpus:
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
) -> Outcome:
    """Compute the plan's cells that have no record yet, one after the other.

    Cells that another worker holds are left to it and looked at again at the end. A cell that
    fails leaves a failure record, and the others go on.

    Parameters
    ----------
    threads : int, optional
        CPU threads of torch; None takes what :func:`default_threads` says.

    Raises
    ------
    StorageError
        When results can no longer be written; what is complete stays.
    """
    progress = progress or Progress()
    pending = pending_cells(plan, results)
    waiting = {cell.id for cell in pending}
    outcome = Outcome(found=[cell.id for cell in plan.cells if cell.id not in waiting])
    if not pending:
        return outcome
    splits = pending[0].dataset.load(source)
    _prepare_torch(threads or default_threads(min(splits.train.shape[:2])))
    work = {cell.id: images_seen(cell, len(splits.train)) for cell in pending}
    progress.begin(pending, len(outcome.found), work)
    worker = _Worker(results, splits, device, progress)
    queue, passed_over = deque(pending), 0
    while queue:
        cell = queue.popleft()
        state = worker.attend(cell)
        if state is not State.HELD_ELSEWHERE:
            outcome.of(state).append(cell.id)
            passed_over = 0
            continue
        queue.append(cell)
        passed_over += 1
        if passed_over >= len(queue):
            progress.waiting(f"{len(queue)} cells held by {results.leases.owner(queue[0].id)}")
            time.sleep(_POLL_S)
    progress.end()
    return outcome


def _prepare_torch(threads: int) -> None:
    # cuBLAS is deterministic only with a fixed workspace, read when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(threads)
    keep_freed_memory()


def images_seen(cell: Cell, available: int) -> int:
    """Return the training images that a cell's run goes through, repetitions counted."""
    return cell.protocol.images_seen(expected_load(cell, available))


def expected_load(cell: Cell, available: int) -> Load:
    """Return what a cell's training is expected to get through; its method may keep otherwise.

    Methods that spend bytes keep all images, smaller, where they can.
    """
    spends_bytes = cell.method.keeps is Keeps.BYTES
    images = available if spends_bytes else cell.budget.images(available)
    return Load(images, available, float(cell.budget.percent) / 100)


class _Worker:
    """Computes cells of one data set on one device."""

    def __init__(self, results: Results, splits: Splits, device: str, progress: Progress) -> None:
        from bench import training

        self._results = results
        self._splits = splits
        self._device = device
        self._progress = progress
        self._phase = ""
        self._trainers = training.Trainers()

    def attend(self, cell: Cell) -> State:
        """Compute a cell unless it is complete or another worker's."""
        if self._results.record(cell.id) is None:
            with self._results.leases.taken(cell.id) as lease:
                if self._results.record(cell.id) is None:
                    return State.HELD_ELSEWHERE if lease is None else self._compute(cell)
        self._progress.cell_elsewhere(cell)
        return State.FOUND

    def _compute(self, cell: Cell) -> State:
        """Compute a cell and write its record, or its failure."""
        self._progress.cell_started(cell)
        try:
            record = self._results.write_record(cell, self._run(cell))
        except StorageError:
            raise
        except Exception as error:  # whatever a method or a network raises, the others go on
            failure = self._results.write_failure(cell, self._told(error))
            self._progress.cell_failed(cell, failure)
            return State.FAILED
        self._progress.cell_finished(cell, record)
        return State.COMPUTED

    def _run(self, cell: Cell) -> dict[str, Any]:
        from bench import training

        train = self._splits.train
        self._phase = "selection"
        compressed, costs = self.select(cell)
        self._phase = "training"
        kept = compressed.training_set(train)
        kept.require_all_classes()
        normalisation = training.normalisation_for(cell.protocol, train)
        job = training.Job(
            model=cell.model,
            protocol=cell.protocol,
            train=kept,
            full_images=len(train),
            share=compressed.bytes(train) / (len(train) * train.bytes_per_image),
            soft_labels=compressed.soft_labels,
            weights=compressed.weights,
            test=self._splits.test,
            normalisation=normalisation,
            seed=cell.training_seed,
            device=self._device,
        )
        network, curve = training.run(
            job,
            self._checkpoint(cell.id),
            lambda done, total: self._progress.stage("training", done, total),
            trainers=self._trainers,
        )
        return {
            "metrics": metrics(curve, self._splits.test),
            "compressed": compressed.accounts(train),
            "model": model_facts(job, network),
            "engine": engine_facts(job, curve),
            "normalisation": asdict(normalisation),
            "cost": training_cost(job, curve) | selection_cost(costs) | process_cost(),
            "weights_digest": training.weights_digest(network),
            "provenance": {
                **provenance(self._device),
                "method": module_facts(type(cell.method)),
            },
        }

    def select(self, cell: Cell) -> tuple[CompressedSet, dict[str, Any]]:
        """Return the compressed set of a cell and the costs of all artefacts behind it."""
        context = RunContext(
            dataset=cell.identity()["dataset"],
            selection_seed=cell.selection_seed,
            device=self._device,
            store=self._results.artefacts,
            leases=self._results.leases,
            checkpoint=self._checkpoint,
            progress=self._progress,
        )
        return select(cell.method, self._splits.train, cell.budget, context), context.costs

    def _checkpoint(self, identifier: str) -> Checkpoint:
        return self._results.checkpoint(identifier, continuation_stamp(self._device))

    def _told(self, error: Exception) -> dict[str, Any]:
        told = isinstance(error, BenchError)
        cause, message = cause_of(error, self._device)
        return {
            "phase": self._phase,
            "type": cause,
            "message": message,
            "traceback": "" if told else traceback.format_exc(),
            "peak_memory_bytes": peak_memory_bytes(),
            "provenance": provenance(self._device),
        }
