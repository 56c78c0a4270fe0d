"""Methods over all ratios and networks at once: what is left when no single cell is picked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from reports.contests import Contest
from reports.statistics import (
    Interval,
    Runs,
    hierarchical_bootstrap,
    improvement_interval,
    iqm,
    iqm_interval,
    matched,
)
from reports.statistics.rounding import TIE
from reports.tables import Column, Table, number, signed

CONTROL = "random"


def aggregates_table(found: Iterable[Contest]) -> Table:
    """Return how each method does over all ratios and networks where random selection stands too.

    A row is a method under one protocol on one data set, with at least two tasks (a network at a
    ratio). Budgets of bytes are left out: images and bytes are no ratios of one kind.
    """
    by_where: dict[tuple[str, str, str, str], list[Contest]] = defaultdict(list)
    for contest in found:
        place = contest.place
        if CONTROL in contest.keys and place.of == "images":
            where = (place.data_label, contest.protocol, place.data, place.fingerprint)
            by_where[where].append(contest)
    rows: list[dict[str, Any]] = []
    links: dict[tuple[int, str], Sequence[str]] = {}
    for (data, protocol, _, _), contests in by_where.items():
        for spec in sorted({spec for one in contests for spec in one.keys} - {CONTROL}):
            tasks = [one for one in contests if spec in one.keys]
            if len(tasks) > 1:
                cells = _cells(tasks, spec)
                links |= {(len(rows), key): cells for key in _LINKED}
                method = tasks[0].called(spec)
                rows.append({"method": method, "where": f"{data}, {protocol}", **_row(spec, tasks)})
    return Table("Over all ratios and networks", _COLUMNS, rows, _NOTES, links=links,
                 name="aggregates")  # fmt: skip


def _row(spec: str, tasks: Sequence[Contest]) -> dict[str, Any]:
    ours, theirs = (_scores(tasks, name) for name in (spec, CONTROL))
    gains = _mean_over_tasks([_gains(one, spec) for one in tasks])
    return {
        "tasks": len(tasks),
        "n": sum(len(runs) for runs in ours.values()),
        "gain": hierarchical_bootstrap(gains) if gains else None,
        "pairs": len(gains),
        "iqm": iqm_interval(ours),
        "control_iqm": iqm(theirs),
        "better": improvement_interval(ours, theirs),
    }


def _scores(tasks: Sequence[Contest], spec: str) -> dict[str, list[float]]:
    return {one.words: list(one.here.runs(one.keys[spec]).values()) for one in tasks}


def _gains(contest: Contest, spec: str) -> Runs:
    ours, theirs = (contest.keys[name] for name in (spec, CONTROL))
    pairs = matched(
        contest.here.runs(ours),
        contest.here.runs(theirs),
        ours_seeded=contest.is_seeded(spec),
        theirs_seeded=contest.is_seeded(CONTROL),
    )
    return {key: mine - other for key, (mine, other) in pairs.items()}


def _mean_over_tasks(tasks: Sequence[Runs]) -> Mapping[tuple[int, int], float]:
    """Return the means over the tasks, of the seeds that all tasks have."""
    common = set.intersection(*(set(runs) for runs in tasks))
    return {key: fmean(runs[key] for runs in tasks) for key in sorted(common)}


def _cells(tasks: Sequence[Contest], spec: str) -> list[str]:
    return [i for one in tasks for name in (spec, CONTROL) for i in one.here.ids(one.keys[name])]


def _within(found: Interval, show: Any) -> str:
    ends = "" if found.low is None else f" [{show(found.low)}, {show(found.high)}]"
    return f"{show(found.value)}{ends}"


def _gain(found: Interval) -> str:
    if found.low is not None and found.high is not None and found.high - found.low <= TIE:
        return f"{signed(found.value)} ({found.n} equal)"
    return _within(found, signed)


_LINKED = ("gain", "n", "iqm", "better")
_NOTES = (
    "Where: data, protocol. Tasks: networks and ratios where both the method and random selection "
    "have runs; n runs of the method. Rows with other tasks can be compared with random only.",
    "Vs random: mean over the tasks of the paired differences, over the seed pairs that all tasks "
    "have; interval: hierarchical bootstrap of selection and training seeds.",
    "IQM: interquartile mean of the accuracies of all runs of all tasks, last epoch, of random "
    "beside it. Beats random: chance that a run is above one of random's at the same task, 50 % "
    "where both are alike. Intervals: stratified bootstrap (Agarwal et al., arXiv 2108.13264).",
    "[low, high]: 95 % percentile intervals; over few seeds they are too narrow (5 seeds: some 85 "
    "of 100 hold the truth, 3 seeds: 75, 2 seeds: 50).",
)
_COLUMNS = (
    Column("method", "method", left=True),
    Column("where", "where", left=True),
    Column("tasks", "tasks", number),
    Column("n", "n", number),
    Column("gain", "vs random", _gain),
    Column("pairs", "seed pairs", number),
    Column("iqm", "IQM %", lambda found: _within(found, "{:.2f}".format)),
    Column("control_iqm", "of random", "{:.2f}".format),
    Column("better", "beats random", lambda found: _within(found, "{:.0%}".format)),
)
