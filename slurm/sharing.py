"""Sharing: which missing artefacts a job makes before the cells that want them; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from slurm.requests import Need, Stage

_WORTH_A_JOB_S = 60.0
"""Artefacts expected to take less are left to the cell that comes first. Our choice."""


@dataclass(frozen=True)
class Making:
    """Artefacts that more than one cell wants, made by one job that these cells wait for."""

    stage: Stage
    artefacts: frozenset[str]
    needs: tuple[Need, ...]
    seconds: float | None
    waits: bool
    """Whether what several selection seeds share is made first."""


def makings(needs: Iterable[Need]) -> Iterator[Making]:
    """Yield what is to be made before the cells; no artefact is in two of them.

    What the cells of one selection seed share is made by a job for each seed, so that seeds do
    not wait for each other; what several seeds share is made by a job before those.
    """
    for group in connected([(need, need.missing) for need in needs]):
        common = _common(group)
        first = _making("common", common, group, waits=False)
        if first is not None:
            yield first
        for part in connected([(need, need.missing.keys() - common) for need in group]):
            counts = Counter(name for need in part for name in need.missing.keys() - common)
            shared = {name for name, count in counts.items() if count > 1}
            making = _making("artefacts", shared, part, waits=first is not None)
            if making is not None:
                yield making


def connected(wants: Sequence[tuple[Need, Collection[str]]]) -> list[list[Need]]:
    """Return the cells that want the same things, directly or in a chain, in groups of two up."""
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        parents.setdefault(name, name)
        while parents[name] != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    listed = [(need, sorted(names)) for need, names in wants if names]
    for _, (first, *rest) in listed:
        for other in rest:
            parents[root(other)] = root(first)
    groups: dict[str, list[Need]] = defaultdict(list)
    for need, names in listed:
        groups[root(names[0])].append(need)
    return [group for group in groups.values() if len(group) > 1]


def total(seconds: Iterable[float | None]) -> float | None:
    """Return the sum; None when one is not known."""
    times = list(seconds)
    return None if None in times else float(sum(time for time in times if time is not None))


def _common(group: Sequence[Need]) -> set[str]:
    seeds: Mapping[str, set[int]] = defaultdict(set)
    for need in group:
        for name in need.missing:
            seeds[name].add(need.seed)
    return {name for name, wanting in seeds.items() if len(wanting) > 1}


def _making(
    stage: Stage, artefacts: Collection[str], needs: Sequence[Need], *, waits: bool
) -> Making | None:
    """Return the making of these artefacts, or None where no job is worth it."""
    wanted: dict[str, float | None] = {}
    for need in needs:
        wanted |= {name: need.missing[name] for name in need.missing.keys() & artefacts}
    seconds = total(wanted.values())
    if not wanted or (seconds is not None and seconds < _WORTH_A_JOB_S):
        return None
    wanting = tuple(need for need in needs if need.missing.keys() & artefacts)
    return Making(stage, frozenset(artefacts), wanting, seconds, waits)
