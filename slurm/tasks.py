"""Tasks: which cells share a job, for how long and after what; pure, no files and no Slurm."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from slurm.profiles import Profile
from slurm.requests import Ask, Need, Stage
from slurm.sharing import Making, makings, total

STARTUP_MINUTES = 5
"""Added to every expected time: Python, torch and the data set are loaded first."""
_LIMITS = (10, 15, 30, 60, 120, 240, 480, 960, 1440, 2880, 5760, 10080)
_ORDER: dict[Stage, int] = {"common": 0, "artefacts": 1, "cells": 2}
_TASKS_A_PLACE = 4
"""Jobs for each place of an array when times are unknown. Our choice."""


@dataclass(frozen=True)
class Task:
    """What one job does: it makes the artefacts of its cells, or computes the cells."""

    stage: Stage
    cells: tuple[str, ...]
    seconds: float | None
    minutes: int
    """The job's time limit."""
    memory_gb: float
    waits: bool = False
    """Whether the stages before are to end first."""


@dataclass(frozen=True)
class JobArray:
    """Tasks with the same resources and time limit: one call of sbatch."""

    stage: Stage
    tasks: tuple[Task, ...]
    minutes: int
    memory_gb: float
    waits: bool


def arrays(needs: Sequence[Need], profile: Profile, max_array_size: int) -> list[JobArray]:
    """Return the arrays of pending cells, those that make artefacts first.

    Cells whose artefacts nobody else wants, or take no time, make them on their own and wait for
    nothing.

    Parameters
    ----------
    max_array_size : int
        Tasks of one array, at most.
    """
    before = list(makings(needs))
    made: dict[str, frozenset[str]] = defaultdict(frozenset)
    for making in before:
        for need in making.needs:
            made[need.cell] |= making.artefacts
    alone = [_as_maker(_with_artefacts(need, ())) for need in needs if need.cell not in made]
    after = [_with_artefacts(need, made[need.cell]) for need in needs if need.cell in made]
    tasks = [
        *(_making_task(making, profile.of(making.stage)) for making in before),
        *_cell_tasks(alone, profile, False),
        *_cell_tasks(after, profile, True),
    ]
    return sorted(_by_resources(tasks, max_array_size), key=lambda array: _ORDER[array.stage])


def _with_artefacts(need: Need, made: Collection[str]) -> Need:
    """Return a need with the time of the artefacts that the cell is to make on its own."""
    own = [seconds for name, seconds in need.missing.items() if name not in made]
    return replace(need, seconds=total([need.seconds, *own]))


def _as_maker(need: Need) -> Need:
    """Return the need of a cell that makes its artefacts on its own, as no job does it before."""
    both = need.taught.cell.joined(need.taught.making)
    return replace(need, taught=replace(need.taught, cell=both))


def _making_task(making: Making, profile: Profile) -> Task:
    ask = Ask()
    for need in making.needs:
        ask = ask.joined(need.taught.making)
    cells = tuple(need.cell for need in making.needs)
    return _task(making.stage, cells, making.seconds, ask, profile, making.waits)


def _cell_tasks(needs: Iterable[Need], profile: Profile, waits: bool) -> Iterator[Task]:
    """Gather cells that ask for the same into jobs of the wanted length."""
    kinds: dict[tuple[Ask, bool], list[Need]] = defaultdict(list)
    for need in needs:
        kinds[need.taught.cell, need.seconds is None].append(need)
    for (ask, is_unknown), members in kinds.items():
        chunks = _by_count if is_unknown or profile.cells_per_job else _by_time
        for chunk in chunks(members, profile):
            cells = tuple(need.cell for need in chunk)
            seconds = total(need.seconds for need in chunk)
            yield _task("cells", cells, seconds, ask, profile, waits)


def _by_count(needs: Sequence[Need], profile: Profile) -> Iterator[Sequence[Need]]:
    places = profile.array_parallelism * _TASKS_A_PLACE
    size = profile.cells_per_job or math.ceil(len(needs) / places)
    for start in range(0, len(needs), size):
        yield needs[start : start + size]


def _by_time(needs: Sequence[Need], profile: Profile) -> Iterator[Sequence[Need]]:
    fits = profile.max_minutes / profile.margin - STARTUP_MINUTES
    target = 60 * max(1.0, min(profile.minutes_per_job, fits))
    chunk: list[Need] = []
    filled = 0.0
    for need in needs:
        seconds = need.seconds or 0.0
        if chunk and filled + seconds > target:
            yield chunk
            chunk, filled = [], 0.0
        chunk.append(need)
        filled += seconds
    if chunk:
        yield chunk


def _task(
    stage: Stage,
    cells: tuple[str, ...],
    seconds: float | None,
    ask: Ask,
    profile: Profile,
    waits: bool,
) -> Task:
    most = profile.max_memory_gb or math.inf
    memory = max(profile.memory_gb, min(ask.memory_gb, most))
    limit = max(time_limit(seconds, profile), ask.minutes)
    return Task(stage, cells, seconds, min(limit, profile.max_minutes), memory, waits)


def time_limit(seconds: float | None, profile: Profile) -> int:
    """Return the minutes to ask for, rounded up to a usual limit; all there are if unknown."""
    if seconds is None:
        return profile.max_minutes
    wanted = seconds * profile.margin / 60 + STARTUP_MINUTES
    usual = next((limit for limit in _LIMITS if limit >= wanted), profile.max_minutes)
    return min(usual, profile.max_minutes)


def _by_resources(tasks: Iterable[Task], max_array_size: int) -> Iterator[JobArray]:
    kinds: dict[tuple[Stage, int, float, bool], list[Task]] = defaultdict(list)
    for task in tasks:
        kinds[task.stage, task.minutes, task.memory_gb, task.waits].append(task)
    for (stage, minutes, memory, waits), members in kinds.items():
        for start in range(0, len(members), max_array_size):
            chunk = tuple(members[start : start + max_array_size])
            yield JobArray(stage, chunk, minutes, memory, waits)
