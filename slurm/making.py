"""The artefact stage: the compressed sets that many cells share are made before them."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.context import RunContext
from bench.errors import BenchError, StorageError
from bench.provenance import continuation_stamp, provenance
from bench.selecting import select
from slurm.needs import selections

if TYPE_CHECKING:
    from bench.cells import Cell
    from bench.datasets import Source
    from bench.progress import Progress
    from bench.results import Results

BLOCKED = "blocked"
"""The phase of the failures of cells whose artefacts could not be made."""


def make_artefacts(
    cells: Sequence[Cell], results: Results, source: Source, device: str, progress: Progress
) -> None:
    """Make the compressed sets of the cells, and all that they are made from.

    Where one fails, its cells fail at once with that cause: they would only run into it again.

    Raises
    ------
    StorageError
        When results can no longer be written.
    """
    splits = cells[0].dataset.load(source)
    _prepare_torch(min(splits.train.shape[:2]))
    for members in selections(cells).values():
        cell = members[0]
        context = RunContext(
            dataset=cell.identity()["dataset"],
            selection_seed=cell.selection_seed,
            device=device,
            store=results.artefacts,
            leases=results.leases,
            checkpoint=lambda name: results.checkpoint(name, continuation_stamp(device)),
            progress=progress,
        )
        try:
            select(cell.method, splits.train, cell.budget, context)
        except StorageError:
            raise
        except Exception as error:  # whatever a method raises, the other sets are still made
            block(members, results, error, device)


def block(cells: Sequence[Cell], results: Results, error: Exception, device: str) -> None:
    """Write why cells cannot be computed: what they are made from could not be made."""
    from bench.metering import peak_memory_bytes
    from bench.recording import cause_of

    cause, message = cause_of(error, device)
    print(f"FAILED for {len(cells)} cells: {cause}: {message}", flush=True)
    told = "" if isinstance(error, BenchError) else "".join(traceback.format_exception(error))
    for cell in cells:
        if results.record(cell.id) is None:
            content = {
                "phase": BLOCKED,
                "type": cause,
                "message": message,
                "traceback": told,
                "peak_memory_bytes": peak_memory_bytes(),
                "provenance": provenance(device),
            }
            results.write_failure(cell, content)


def _prepare_torch(side: int) -> None:
    """Set torch up as :func:`bench.execution.execute` does: artefacts are to be the same."""
    from bench.execution import default_threads, prepare_torch

    prepare_torch(default_threads(side))
