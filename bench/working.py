"""Computing one cell: selection, training, record; or how it failed."""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from bench.allocation import Share
from bench.context import MadeElsewhere, RunContext
from bench.datasets import Source
from bench.devices import answers, forget_peak_memory, free_memory, peak_memory_bytes
from bench.errors import BenchError, ProcessError, StorageError
from bench.jobs import Job
from bench.launching import Order, train_together
from bench.metering import ProcessorShare
from bench.provenance import continuation_stamp, device_facts, module_facts, provenance
from bench.recording import (
    KILLED,
    OUT_OF_MEMORY,
    cause_of,
    engine_facts,
    failure,
    fitting_advice,
    hours,
    metrics,
    model_facts,
    process_cost,
    selection_cost,
    training_cost,
)
from bench.selecting import select
from bench.team import Team

if TYPE_CHECKING:
    from bench.augment import Normalisation
    from bench.cells import Cell
    from bench.checkpoints import Checkpoint
    from bench.contract import CompressedSet, ImageDataset
    from bench.datasets import Splits
    from bench.jobs import Curve
    from bench.models.networks import Network
    from bench.progress import Progress
    from bench.results import Results


class State(Enum):
    """What became of a cell that a worker attended to."""

    COMPUTED = "computed"
    FOUND = "found"
    FAILED = "failed"
    HELD_ELSEWHERE = "held elsewhere"
    MISSES_ARTEFACT = "misses an artefact that another worker makes"
    LEFT = "left by a killed process"


@dataclass(frozen=True)
class Prepared:
    """A cell that is ready to be trained.

    ``costs`` are those of all artefacts behind the compressed set.
    """

    job: Job
    compressed: CompressedSet
    costs: dict[str, Any]


class Worker:
    """Computes cells of one data set on one device.

    Parameters
    ----------
    packed : int
        Cells that are computed on the device at a time, by as many processes.
    tells_killed : bool
        Whether a cell that a killed process left behind gets a failure first.
    processes : int
        How many train a cell together.
    source : Source
        Where those processes find the data set.
    """

    def __init__(
        self,
        results: Results,
        splits: Splits,
        device: str,
        progress: Progress,
        packed: int = 1,
        tells_killed: bool = True,
        processes: int = 1,
        source: Source | None = None,
    ) -> None:
        from bench.training import Trainers

        self._results = results
        self._splits = splits
        self._device = device
        self._progress = progress
        self._packed = packed
        self._share = Share.of_this_job(packed, processes)
        self._tells_killed = tells_killed
        self._processes = processes
        self._source = source or Source()
        self._phase = ""
        self._job: Job | None = None
        self._trainers = Trainers()
        self._normalisations: dict[str, Normalisation] = {}
        self.has_lost_device = False
        """Whether the device takes no more work from this process, after a cell that failed."""

    def attend(self, cell: Cell, waits: bool = True) -> State:
        """Compute a cell unless it is complete or another worker's.

        A cell whose worker was killed may kill the next one too: its failure is written down, and
        it is computed after the others.

        Parameters
        ----------
        waits : bool
            Whether to wait for an artefact that another worker makes, or leave the cell.

        Raises
        ------
        StorageError
            When not even a failure can be written.
        """
        if self._results.record(cell.id) is None:
            with self._results.leases.taken(cell.id) as lease:
                if self._results.record(cell.id) is None:
                    if lease is None:
                        return State.HELD_ELSEWHERE
                    if lease.left_by and self._tells_killed:
                        tell_killed(cell, self._results, lease.left_by, self._device)
                        return State.LEFT
                    try:
                        return self._compute(cell, waits)
                    except MadeElsewhere:
                        self._progress.cell_postponed(cell)
                        return State.MISSES_ARTEFACT
        self._progress.cell_elsewhere(cell)
        return State.FOUND

    def _compute(self, cell: Cell, waits: bool) -> State:
        """Compute a cell and write its record, or its failure."""
        self._progress.cell_started(cell)
        self._phase = "start"
        try:
            device_facts(self._device)  # known from now on, whatever becomes of a GPU
            forget_peak_memory(self._device)
            record = self._results.write_record(cell, self._run(cell, waits))
        except StorageError as error:
            try:
                return self._failed(cell, error)
            except StorageError:
                raise error from None
        except Exception as error:  # whatever a method or a network raises, the others go on
            if (stop := _stop_behind(error)) is not None:
                raise stop from None
            return self._failed(cell, error)
        self._progress.cell_finished(cell, record)
        return State.COMPUTED

    def _failed(self, cell: Cell, error: Exception) -> State:
        told = self._results.write_failure(cell, self._told(error))
        self._progress.cell_failed(cell, told)
        self.has_lost_device = not answers(self._device)
        return State.FAILED

    def _run(self, cell: Cell, waits: bool) -> dict[str, Any]:
        from bench import training

        prepared = self.prepare(cell, waits)
        job, compressed = prepared.job, prepared.compressed
        self._phase, self._job = "training", job
        share = ProcessorShare()
        network, curve = self._trained(cell, job)
        on_processor = share.read()
        self._phase = "recording"
        cost = {
            **process_cost(job.device, curve),  # before the calibration takes memory
            **training_cost(job, curve, self._packed, self._processes, on_processor),
            **selection_cost(prepared.costs),
            **hours(job, curve, prepared.costs, self._processes, self._packed),
        }
        return {
            "metrics": metrics(curve, self._splits.test),
            "compressed": compressed.accounts(self._splits.train),
            "model": model_facts(job, network),
            "engine": engine_facts(job, curve, self._packed, self._processes),
            "normalisation": asdict(job.normalisation),
            "cost": cost,
            **({"allocation": self._share.next(cost)} if self._share is not None else {}),
            "weights_digest": training.weights_digest(network),
            "provenance": {
                **provenance(self._device),
                "method": module_facts(type(cell.method)),
            },
        }

    def prepare(self, cell: Cell, waits: bool = True) -> Prepared:
        """Return what a cell's training is about; its compressed set is made, or found.

        ``waits`` as for :meth:`attend`.
        """
        train = self._splits.train
        self._phase = "selection"
        compressed, costs = self._select(cell, waits)
        self._phase = "preparation"
        kept = compressed.training_set(train)
        kept.require_all_classes()
        job = Job(
            model=cell.model,
            protocol=cell.protocol,
            train=kept,
            full_images=len(train),
            share=_share(cell, compressed, train),
            soft_labels=compressed.soft_labels,
            weights=compressed.weights,
            test=self._splits.test,
            normalisation=self._normalisation(cell),
            seed=cell.training_seed,
            device=self._device,
            feed=self._source.feed,
        )
        return Prepared(job, compressed, costs)

    def _trained(self, cell: Cell, job: Job) -> tuple[Network, Curve]:
        from bench import training

        def told(done: int, total: int) -> None:
            self._progress.stage("training", done, total)

        told(0, 0)  # the first epoch may be long, and one that is gone on from is not known yet
        if self._processes == 1:
            place = self._checkpoint(cell.id)
            return training.run(job, place, told, trainers=self._trainers)
        free_memory()  # the first process has the same GPU
        order = Order.of(cell, self._results.folder, self._source, self._device, self._processes)
        return training.trained_network(job, train_together(order, told))

    def _select(self, cell: Cell, waits: bool) -> tuple[CompressedSet, dict[str, Any]]:
        """Return the compressed set of a cell and the costs of all artefacts behind it."""
        context = RunContext(
            dataset=cell.identity()["dataset"],
            selection_seed=cell.selection_seed,
            device=self._device,
            store=self._results.artefacts,
            leases=self._results.leases,
            checkpoint=self._checkpoint,
            progress=self._progress,
            waits=waits,
        )
        return select(cell.method, self._splits.train, cell.budget, context), context.costs

    def _checkpoint(self, identifier: str) -> Checkpoint:
        return self._results.checkpoint(identifier, continuation_stamp(self._device))

    def _normalisation(self, cell: Cell) -> Normalisation:
        """Return what a cell's protocol normalises with; measured once."""
        from bench.normalising import normalisation_for

        kind = cell.protocol.normalisation
        if kind not in self._normalisations:
            self._normalisations[kind] = normalisation_for(kind, self._splits.train)
        return self._normalisations[kind]

    def _told(self, error: Exception) -> dict[str, Any]:
        shown = "" if isinstance(error, BenchError) else traceback.format_exc()
        if isinstance(error, ProcessError):
            shown = error.traceback
        peak = peak_memory_bytes(self._device)  # before other batches are tried
        cause, message = cause_of(error, self._device, self._what_fits(error))
        return failure(self._phase, cause, message, self._device, shown) | {
            "device_peak_memory_bytes": peak
        }

    def _what_fits(self, error: Exception) -> str:
        """Return which batch would have fitted, where a training run was out of memory."""
        from bench.fitting import is_out_of_memory
        from bench.training import Trainers

        is_of_process = isinstance(error, ProcessError) and error.cause == OUT_OF_MEMORY
        if not is_of_process and not is_out_of_memory(error):
            return ""
        traceback.clear_frames(error.__traceback__)  # they hold what the memory is full of
        self._trainers = Trainers()
        free_memory()
        if self._phase != "training" or self._job is None:
            return ""
        try:
            return fitting_advice(replace(self._job, team=Team(0, self._processes)))
        except Exception:  # the failure itself shall be told, whatever became of trying
            return ""


def _stop_behind(error: BaseException) -> BaseException | None:
    """Return what was ending this process, as Ctrl-C does, when an error got in its way."""
    context = error.__context__
    while isinstance(context, Exception | GeneratorExit):
        context = context.__context__
    return context


def _share(cell: Cell, compressed: CompressedSet, train: ImageDataset) -> float:
    """Return the share of the training split that a protocol's batch goes by.

    A tenth of 999 images are 100: what was rounded up is a budget of a tenth nevertheless.
    """
    if not cell.method.budgeted:
        return len(compressed) / len(train)
    if cell.budget.of == "images":
        return cell.budget.share
    return compressed.bytes(train) / (len(train) * train.bytes_per_image)


def tell_killed(
    cell: Cell, results: Results, owner: str, device: str, phase: str = "unknown"
) -> dict[str, Any]:
    """Write that a cell's process ended without a word; return the failure."""
    message = (
        f"process {owner} ended without a word while it computed this cell: it was killed, often "
        "for want of memory. The same command goes on from its last checkpoint"
    )
    return results.write_failure(cell, failure(phase, KILLED, message, device))
