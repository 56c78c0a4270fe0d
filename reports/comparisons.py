"""Every method beside the baselines: the whole table, and short ones for what is read by pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from reports.collection import with_axis
from reports.contests import Contest
from reports.statistics import (
    LEVEL,
    POWER,
    Effect,
    holm,
    minimum_detectable_difference,
    seeds_needed,
)
from reports.tables import Column, Table, ascii_name, difference, number

_BASELINES = ("random", "dq")
_MANY = 40
"""Rows that a page holds."""


def comparisons_table(
    found: Sequence[Contest], baselines: Sequence[str] = _BASELINES, level: float = LEVEL
) -> Table:
    """Return how every method compares with baselines under the same budget and training.

    Parameters
    ----------
    baselines : sequence of str
        Specs of the methods to compare with.
    """
    made: list[dict[str, Any]] = []
    p_values: dict[int, float] = {}
    for contest in found:
        for theirs in (name for name in baselines if name in contest.keys):
            for ours in contest.keys:
                if ours in baselines[: baselines.index(theirs) + 1]:
                    continue
                effect = contest.here.compared(contest.keys[ours], contest.keys[theirs])
                if effect is None:
                    continue
                if effect.n > 1:
                    p_values[len(made)] = effect.p_value()
                made.append(
                    {
                        "place": contest.words,
                        "setting": (
                            contest.place.data_label,
                            contest.place.model,
                            contest.protocol,
                            contest.place.data,
                            contest.place.fingerprint,
                        ),
                        "percent": contest.place.percent,
                        "of": contest.place.of,
                        "method": contest.called(ours),
                        "than": contest.called(theirs),
                        "difference": effect.estimate(),
                        "n": effect.n,
                        "p": None,
                        **_reach(effect),
                    }
                )
    for place_of_row, p in holm(p_values).items():
        made[place_of_row]["p"] = p
    shown = sum(row["p"] is not None and row["p"] < level for row in made)
    notes = [
        f"Shown at the {level:.0%} level after Holm's correction over all comparisons: "
        f"{shown} of {len(p_values)} that can be tested.",
        f"{_DIFFERENCE} Where: data, network, ratio, protocol.",
        P_NOTE,
        f"Detectable: the smallest true difference that n pairs show in {POWER:.0%} of all cases, "
        "at the spread seen here. Pairs needed: to show the difference seen here as often. Both "
        "are of one test alone: with the correction for their number it takes more.",
    ]
    whole = Table("Comparisons", _COMPARISONS, made, notes, name="comparisons")
    return replace(whole, brief=_brief(whole) if len(made) > _MANY else ())


def _brief(whole: Table) -> list[Table]:
    """Return a table for each setting, in which a method's row has the baselines side by side."""
    by_setting: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in whole.rows:
        by_setting[row["setting"]].append(row)
    tables = [_of_setting(", ".join(setting[:3]), rows) for setting, rows in by_setting.items()]
    tables[-1] = replace(
        tables[-1], notes=[*tables[-1].notes, whole.notes[0], _DIFFERENCE, P_NOTE, _REST]
    )
    return tables


def _of_setting(setting: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    merged: dict[tuple[float, str, str], dict[str, Any]] = {}
    for row in rows:
        place = row["percent"], row["of"], row["method"]
        told = {f"{key} {row['than']}": row[key] for key in _SHOWN}
        merged.setdefault(place, {key: row[key] for key in ("method", "percent", "of")}).update(
            told
        )
    columns = [Column("method", "method", left=True), Column("percent", "kept %", number)]
    for than in dict.fromkeys(row["than"] for row in rows):
        columns += [
            Column(f"difference {than}", f"vs {than}", difference),
            Column(f"n {than}", "n", number),
            Column(f"p {than}", "p (Holm)", p_value),
        ]
    shown = sorted(merged.values(), key=lambda row: (row["of"] == "bytes", row["percent"]))
    title = f"Comparisons: {setting}"
    return Table(
        title,
        with_axis(columns, shown),
        shown,
        _detectable(rows),
        name=f"comparisons-{ascii_name(setting)}",
    )


def _detectable(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [row["detectable"] for row in rows if row["detectable"] is not None]
    if not found:
        return []
    ends = f"{min(found):.2f} to {max(found):.2f} points, median {median(found):.2f}"
    told = ends if len(found) > 1 else f"{found[0]:.2f} points"
    return [
        f"Detectable in {POWER:.0%} of all cases with these n, at the spreads seen, by one test "
        f"alone (with the correction it takes more): {told}."
    ]


def _reach(effect: Effect) -> dict[str, float | int | None]:
    if not effect.deviation:
        return {"detectable": None, "needed": None}
    return {
        "detectable": minimum_detectable_difference(effect.deviation, effect.n),
        "needed": seeds_needed(effect.mean, effect.deviation) if effect.mean else None,
    }


def p_value(value: float) -> str:
    """Show a p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


_DIFFERENCE = (
    "Difference: method minus the other, last epoch, paired over n common seeds, ± half of its "
    "95 % interval."
)
P_NOTE = (
    "p: two-sided t test, the sign test where all differences are equal; corrected for the number "
    "of tests (Holm)."
)
_SHOWN = ("difference", "n", "p")
_REST = (
    "What is detectable and how many pairs would show the difference seen stands for each row in "
    "this report as HTML, CSV and JSON."
)
_COMPARISONS = (
    Column("method", "method", left=True),
    Column("than", "against", left=True),
    Column("place", "where", left=True),
    Column("difference", "difference", difference),
    Column("n", "n", number),
    Column("p", "p (Holm)", p_value),
    Column("detectable", "detectable", "{:.2f}".format),
    Column("needed", "pairs needed", number),
)
