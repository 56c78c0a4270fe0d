"""The artefact stages: what many cells share is made before them."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from bench.context import RunContext
from bench.errors import BenchError, StorageError
from bench.planning import closure
from bench.provenance import continuation_stamp
from bench.selecting import seen_by_methods, select
from slurm.needs import selections
from slurm.requests import BLOCKED

if TYPE_CHECKING:
    from bench.cells import Cell
    from bench.context import LazyArtefact
    from bench.contract import Artefact
    from bench.datasets import Source
    from bench.progress import Progress
    from bench.results import Results
    from slurm.requests import Stage


def make_artefacts(
    cells: Sequence[Cell],
    stage: Stage,
    results: Results,
    source: Source,
    device: str,
    progress: Progress,
) -> None:
    """Make what more than one of the cells wants, or, in stage ``common``, more than one seed.

    Where an artefact fails, all cells that want it fail at once with that cause: they would only
    run into it again.

    Raises
    ------
    StorageError
        When results can no longer be written.
    """
    splits = cells[0].dataset.load(source)
    _prepare_torch(min(splits.train.shape[:2]))
    seen = seen_by_methods(splits.train)
    groups = list(selections(cells).values())

    def context(cell: Cell) -> RunContext:
        return RunContext(
            dataset=cell.identity()["dataset"],
            selection_seed=cell.selection_seed,
            device=device,
            store=results.artefacts,
            leases=results.leases,
            checkpoint=lambda name: results.checkpoint(name, continuation_stamp(device)),
            progress=progress,
        )

    def declared(cell: Cell) -> dict[str, Artefact]:
        return closure(cell.method.artefacts(seen, context(cell)))

    names = [list(declared(members[0])) for members in groups]
    due = _shared(groups, names, stage)
    failed: dict[str, Exception] = {}
    for members, wanted in zip(groups, names, strict=True):
        cell = members[0]
        makes_set = stage == "artefacts" and len(members) > 1
        left = [name for name in wanted if name in due and not results.artefacts.has(name)]
        if not left and not makes_set:
            continue
        try:
            found = declared(cell)
            for name in left:
                _make(found[name], failed)
            if makes_set:
                select(cell.method, splits.train, cell.budget, context(cell))
        except StorageError:
            raise
        except Exception as error:  # whatever a method raises, the other artefacts are still made
            block(members, results, error, device)


def _shared(
    groups: Sequence[Sequence[Cell]], names: Sequence[Sequence[str]], stage: Stage
) -> set[str]:
    """Return the artefacts that several selections want, or several seeds in stage ``common``."""
    wanting: dict[str, set[int]] = defaultdict(set)
    for number, (members, wanted) in enumerate(zip(groups, names, strict=True)):
        for name in wanted:
            wanting[name].add(members[0].selection_seed if stage == "common" else number)
    return {name for name, those in wanting.items() if len(those) > 1}


def _make(artefact: Artefact, failed: dict[str, Exception]) -> None:
    """Make an artefact; one that needs what has failed fails for the same cause."""
    for name in closure([artefact]):
        if name in failed:
            raise failed[name]
    try:
        cast("LazyArtefact", artefact).arrays()
    except StorageError:
        raise
    except Exception as error:
        failed[artefact.id] = error
        raise


def block(cells: Sequence[Cell], results: Results, error: Exception, device: str) -> None:
    """Write why cells cannot be computed: what they are made from could not be made."""
    from bench.recording import cause_of, failure

    cause, message = cause_of(error, device)
    print(f"FAILED for {len(cells)} cells: {cause}: {message}", flush=True)
    told = "" if isinstance(error, BenchError) else "".join(traceback.format_exception(error))
    for cell in cells:
        if results.record(cell.id) is None:
            results.write_failure(cell, failure(BLOCKED, cause, message, device, told))


def _prepare_torch(side: int) -> None:
    """Set torch up as :func:`bench.execution.execute` does: artefacts are to be the same."""
    from bench.execution import default_threads, prepare_torch

    prepare_torch(default_threads(side))
