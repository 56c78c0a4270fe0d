"""Tasks: which cells share a job, for how long and after what; pure, no files and no Slurm."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from slurm.profiles import Profile

STARTUP_MINUTES = 5
"""Added to every expected time: Python, torch and the data set are loaded first."""
_LIMITS = (10, 15, 30, 60, 120, 240, 480, 960, 1440, 2880, 5760, 10080)
_TASKS_A_PLACE = 4
"""Jobs for each place of an array when times are unknown. Our choice."""
_WORTH_A_JOB_S = 60.0
"""Artefacts expected to take less are left to the cell that comes first. Our choice."""
Stage = Literal["artefacts", "cells"]


@dataclass(frozen=True)
class Ask:
    """The least that a job must ask for, learnt from one that had too little."""

    memory_gb: float = 0.0
    minutes: int = 0

    def joined(self, other: Ask) -> Ask:
        """Return what satisfies both."""
        return Ask(max(self.memory_gb, other.memory_gb), max(self.minutes, other.minutes))


@dataclass(frozen=True)
class Need:
    """A pending cell, and what is still to be made for its compressed set.

    Parameters
    ----------
    cell : str
        The cell's id.
    seconds : float or None
        Expected time of training and testing.
    missing : mapping
        The ids of artefacts that are not stored, the compressed set included, with their
        expected seconds.
    ask : Ask
        What earlier attempts taught.
    """

    cell: str
    seconds: float | None
    missing: Mapping[str, float | None] = field(default_factory=dict)
    ask: Ask = Ask()


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
    """Whether artefacts are to be made first."""


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
    groups = [group for group in shared(needs) if _is_worth_a_job(group)]
    waiting = {need.cell for group in groups for need in group}
    made = [_artefact_task(group, profile.of("artefacts")) for group in groups]
    alone = [_with_artefacts(need) for need in needs if need.cell not in waiting]
    after = [need for need in needs if need.cell in waiting]
    tasks = [*made, *_cell_tasks(alone, profile, False), *_cell_tasks(after, profile, True)]
    return list(_by_resources(tasks, max_array_size))


def shared(needs: Iterable[Need]) -> list[list[Need]]:
    """Return the cells that want the same missing artefacts, as connected groups of two or more.

    No two groups want the same artefact, so that a job for each makes none twice.
    """
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        parents.setdefault(name, name)
        while parents[name] != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    listed = [need for need in needs if need.missing]
    for need in listed:
        first, *rest = need.missing
        for other in rest:
            parents[root(other)] = root(first)
    groups: dict[str, list[Need]] = defaultdict(list)
    for need in listed:
        groups[root(next(iter(need.missing)))].append(need)
    return [group for group in groups.values() if len(group) > 1]


def _with_artefacts(need: Need) -> Need:
    return replace(need, seconds=_total([need.seconds, *need.missing.values()]))


def _artefact_task(group: Sequence[Need], profile: Profile) -> Task:
    ask = Ask()
    for need in group:
        ask = ask.joined(need.ask)
    seconds = _artefact_seconds(group)
    cells = tuple(need.cell for need in group)
    return _task("artefacts", cells, seconds, ask, profile, waits=False)


def _artefact_seconds(group: Iterable[Need]) -> float | None:
    wanted: dict[str, float | None] = {}
    for need in group:
        wanted |= need.missing
    return _total(wanted.values())


def _is_worth_a_job(group: Iterable[Need]) -> bool:
    seconds = _artefact_seconds(group)
    return seconds is None or seconds >= _WORTH_A_JOB_S


def _cell_tasks(needs: Iterable[Need], profile: Profile, waits: bool) -> Iterator[Task]:
    """Gather cells that ask for the same into jobs of the wanted length."""
    kinds: dict[tuple[Ask, bool], list[Need]] = defaultdict(list)
    for need in needs:
        kinds[need.ask, need.seconds is None].append(need)
    for (ask, is_unknown), members in kinds.items():
        chunks = _by_count if is_unknown or profile.cells_per_job else _by_time
        for chunk in chunks(members, profile):
            cells = tuple(need.cell for need in chunk)
            seconds = _total(need.seconds for need in chunk)
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
    memory = max(profile.memory_gb, ask.memory_gb)
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


def _total(seconds: Iterable[float | None]) -> float | None:
    times = list(seconds)
    return None if None in times else float(sum(time for time in times if time is not None))
