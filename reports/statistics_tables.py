"""Tables of what the statistics say: comparisons, firmness of orders, best-epoch optimism."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean
from typing import Any

from reports.aggregates import aggregates_table
from reports.collection import Collection
from reports.comparisons import comparisons_table
from reports.contests import Contest, Place, contests, left_out
from reports.single_changes import protocol_table, single_change_table
from reports.statistics import (
    kendall_tau,
    optimism,
    rank_stability,
)
from reports.tables import Column, Table, difference, number, signed

_MOST_TOLD = 5


def statistics_tables(results: Collection) -> list[Table]:
    """Return the tables that have rows."""
    found = contests(results)
    made = [
        comparisons_table(found), single_change_table(found), protocol_table(found),
        aggregates_table(found), orders_table(found), optimism_table(found),
    ]  # fmt: skip
    others = left_out(results)
    if others:
        made = [_with_note(table, _left_out_note(others)) for table in made]
    return [table for table in made if table.rows]


def orders_table(found: Sequence[Contest]) -> Table:
    """Return how firm the order of the methods is, and whether protocols agree on it."""
    made: list[dict[str, Any]] = []
    means: dict[Place, dict[str, dict[str, float]]] = defaultdict(dict)
    for contest in found:
        runs = contest.alike()
        if len(runs) < 2:
            continue
        means[contest.place][contest.protocol] = {
            name: fmean(one.values()) for name, one in runs.items()
        }
        stability = rank_stability(runs)
        if stability is None:
            continue
        highest = min(rank.rank for rank in stability.ranks.values())
        first = [name for name, rank in stability.ranks.items() if rank.rank == highest]
        made.append(
            {
                "place": contest.place.words,
                "between": f"{contest.protocol}, other seeds",
                "methods": len(runs),
                "n": stability.seeds,
                "tau": stability.agreement if stability.seeds > 1 else None,
                "first": " = ".join(map(contest.called, first)),
                "best": sum(stability.ranks[name].best for name in first)
                if stability.seeds > 1
                else None,
            }
        )
    for place, by_protocol in means.items():
        for ours, theirs in combinations(sorted(by_protocol), 2):
            made.append(
                {
                    "place": place.words,
                    "between": f"{ours} / {theirs}",
                    "methods": len(by_protocol[ours].keys() & by_protocol[theirs].keys()),
                    "tau": kendall_tau(by_protocol[ours], by_protocol[theirs]),
                }
            )
    notes = [
        "tau: Kendall's tau-b between two orders of the methods by mean accuracy: 1 the same, 0 "
        "nothing in common, −1 reversed.",
        "Other seeds: mean tau between the order and those of seeds drawn with replacement (n of "
        "them, common to all methods); first: how often the first method stays first (equal means: "
        "one of them). Neither has an interval. Between: protocols.",
    ]
    return Table("How firm the orders are", _ORDERS, made, notes, name="orders")


def optimism_table(found: Sequence[Contest]) -> Table:
    """Return what reporting the best epoch on the test split adds."""
    made: list[dict[str, Any]] = []
    for contest in found:
        best = contest.runs("best_accuracy")
        last = {
            name: {seeds: value for seeds, value in runs.items() if seeds in best[name]}
            for name, runs in contest.runs().items()
            if best[name]
        }
        if not last:  # only the last epochs were tested
            continue
        added = optimism(last, {name: best[name] for name in last})
        tested = {n for runs in contest.runs("tested_epochs").values() for n in runs.values()}
        for name, gain in added.by_method.items():
            made.append(
                {
                    "place": contest.words,
                    "method": contest.called(name),
                    "tested": "/".join(map(str, sorted(tested))) or None,
                    "gain": gain,
                    "n": gain.n,
                    "spread": added.spread if len(last) > 1 else None,
                    "tau": added.agreement,
                }
            )
    notes = [
        "Best epoch of those tested minus last epoch, both on the test split: what a report of "
        "the best epoch adds to every number, more where more were tested; ± half of its 95 % "
        "interval over n runs. Runs that were tested at their last epoch only are left out. "
        "Where: data, network, ratio, protocol.",
        "Spread: the largest minus the smallest mean of the methods beside each other; a "
        "comparison of their best epochs can be off by that much.",
        "tau: Kendall's tau-b between the methods' orders by last and by best epoch.",
    ]
    return Table("Optimism of the best epoch", _OPTIMISM, made, notes, name="optimism")


def _with_note(table: Table, note: str) -> Table:
    brief = [*table.brief[:-1], *(_with_note(last, note) for last in table.brief[-1:])]
    return replace(table, notes=[*table.notes, note], brief=brief)


def _left_out_note(others: Sequence[str]) -> str:
    more = f"; and {len(others) - _MOST_TOLD} others" if len(others) > _MOST_TOLD else ""
    return (
        "Left out (runs), as a name stands for one identity here and others of the same name are "
        f"newer or have more runs: {'; '.join(others[:_MOST_TOLD])}{more}."
    )


_ORDERS = (
    Column("place", "where", left=True),
    Column("between", "between", left=True),
    Column("methods", "methods", number),
    Column("n", "n", number),
    Column("tau", "tau", signed),
    Column("first", "first", left=True),
    Column("best", "stays first", "{:.0%}".format),
)
_OPTIMISM = (
    Column("method", "method", left=True),
    Column("place", "where", left=True),
    Column("tested", "epochs tested"),
    Column("gain", "best − last", difference),
    Column("n", "n", number),
    Column("spread", "spread", "{:.2f}".format),
    Column("tau", "tau", signed),
)
