"""What is left of a sweep: the time that cells with a job are expected to take; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from slurm.states import Seen, State
from slurm.submissions import Places

if TYPE_CHECKING:
    from slurm.sacct import Accounted
    from slurm.submissions import Submission


def left(
    cells: dict[str, Seen], submitted: list[Submission], runs: Sequence[Accounted]
) -> tuple[float | None, float | None]:
    """Return the seconds, and those times GPUs, that the cells with a job are expected to take.

    Where a cell's time was not known when it was submitted, all are expected to take as long as
    those that are done in jobs like theirs; None where nothing tells. A cell that is running
    counts as half done.
    """
    newest = {cell: one for one in submitted for cell in one.cells}
    going = {
        cell: 0.5 if seen.state is State.RUNNING else 1.0
        for cell, seen in cells.items()
        if seen.state in (State.RUNNING, State.PENDING)
    }
    expected = {c: newest[c].expected[c] for c in going if c in newest and c in newest[c].expected}
    if len(expected) == len(going):
        gpus = {cell: newest[cell].by_cell[cell].gpus for cell in going}
        times = {cell: share * expected[cell] for cell, share in going.items()}
        return sum(times.values()), sum(time * gpus[cell] for cell, time in times.items())
    seconds, device_seconds = _seconds_of_a_cell(cells, Places(submitted), runs)
    if not seconds:
        return None, None
    count = sum(going.values())
    return count * seconds, count * device_seconds


def _seconds_of_a_cell(
    cells: dict[str, Seen], places: Places, runs: Iterable[Accounted]
) -> tuple[float, float]:
    """Return the seconds that jobs took for a cell, and those times GPUs; zeros if none is done."""
    computed: dict[tuple[str, int], float] = {}
    seconds = device_seconds = 0.0
    for run in runs:
        place = places.of(run)
        if place is None or place.array.stage != "cells":
            continue
        states = [cells[cell].state for cell in place.task.cells]
        if State.DONE in states:  # the others tell nothing yet
            shares = {State.DONE: 1.0, State.RUNNING: 0.5}
            computed[run.job, run.task] = sum(shares.get(state, 0.0) for state in states)
            seconds += run.seconds
            device_seconds += run.seconds * run.gpus
    count = sum(computed.values())
    return (seconds / count, device_seconds / count) if count else (0.0, 0.0)
