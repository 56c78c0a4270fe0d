"""What one change is worth: one parameter of a method, the method around it, the protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from bench.specs import Spec, expand
from reports.comparisons import P_NOTE, p_value
from reports.contests import Contest, Place
from reports.statistics import Effect, holm, paired_effect
from reports.tables import Column, Table, difference, number

_BASE = "base"
"""The parameter of a wrapper that names the method within."""


class _Change(NamedTuple):
    """Two specs of one contest: what both have, and what the second has instead of the first's."""

    first: str
    second: str
    changed: str


def single_change_table(found: Sequence[Contest]) -> Table:
    """Return the paired differences between methods that differ in one given parameter.

    A value is compared with the method that leaves the parameter out, where that was run, else
    with every other value; a wrapper with the method that it wraps.
    """
    rows: list[dict[str, Any]] = []
    effects: list[Effect] = []
    for contest in found:
        for change in _changes(list(contest.keys)):
            effect = contest.here.compared(
                *(contest.keys[n] for n in (change.second, change.first))
            )
            if effect is not None:
                of, where = contest.called(change.first), contest.words
                rows.append({"of": of, "change": change.changed, "place": where})
                effects.append(effect)
    return _table(
        "What one change is worth", "changes", _CHANGES, rows, effects,
        "Difference: with the change minus without it, last epoch, paired over n common seeds, "
        "± half of its 95 % interval. Where: data, network, ratio, protocol. An edition sets "
        "several parameters at once; a wrapper brings its own.",
    )  # fmt: skip


def protocol_table(found: Sequence[Contest]) -> Table:
    """Return the paired differences of the same method, data, network and ratio by protocol."""
    by_place: dict[Place, list[Contest]] = defaultdict(list)
    for contest in found:
        by_place[contest.place].append(contest)
    rows: list[dict[str, Any]] = []
    effects: list[Effect] = []
    for place, contests in by_place.items():
        for first, second in combinations(sorted(contests, key=lambda c: c.protocol), 2):
            for name in (name for name in first.keys if name in second.keys):
                effect = paired_effect(
                    second.here.runs(second.keys[name]),
                    first.here.runs(first.keys[name]),
                    ours_seeded=second.is_seeded(name),
                    theirs_seeded=first.is_seeded(name),
                )
                if effect is not None:
                    change = f"{first.protocol} → {second.protocol}"
                    rows.append({"of": first.called(name), "change": change, "place": place.words})
                    effects.append(effect)
    return _table(
        "What the protocol is worth", "protocol-changes", _PROTOCOLS, rows, effects,
        "Difference: under the second protocol minus under the first, last epoch, paired over n "
        "common seeds, ± half of its 95 % interval. Where: data, network, ratio.",
    )  # fmt: skip


def _table(
    title: str, name: str, columns: Sequence[Column], rows: list[dict[str, Any]],
    effects: Sequence[Effect], note: str,
) -> Table:  # fmt: skip
    tested = {place: effect.p_value() for place, effect in enumerate(effects) if effect.n > 1}
    corrected = holm(tested)
    for place, effect in enumerate(effects):
        p = corrected.get(place)
        rows[place] |= {"difference": effect.estimate(), "n": effect.n, "p": p}
    notes = [note, P_NOTE]
    return Table(title, columns, rows, notes, name=name)


def _changes(specs: Sequence[str]) -> Iterator[_Change]:
    read = {spec: next(expand(spec)) for spec in specs}
    found = {
        (first, second): key
        for first, second in combinations(
            sorted(specs, key=lambda s: (len(read[s].parameters), s)), 2
        )
        if (key := _differs_in(read[first], read[second])) is not None
    }
    added = {  # (the parameter, the spec that has it): there is a method without it
        (key, second) for (first, second), key in found.items() if not _has(read[first], key)
    }
    for (first, second), key in found.items():
        if not (_has(read[first], key) and {(key, first), (key, second)} & added):
            yield _Change(first, second, f"{key}={dict(read[second].parameters)[key]}")
    for spec, one in read.items():
        within = dict(one.parameters).get(_BASE)
        if within in read:
            yield _Change(within, spec, spec)


def _has(spec: Spec, key: str) -> bool:
    return key in dict(spec.parameters)


def _differs_in(first: Spec, second: Spec) -> str | None:
    """Return the one parameter in which two specs of one method differ, if it is one."""
    if first.name != second.name:
        return None
    ours, theirs = dict(first.parameters), dict(second.parameters)
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return keys[0] if len(keys) == 1 else None


_LAST = (
    Column("place", "where", left=True),
    Column("difference", "difference", difference),
    Column("n", "n", number),
    Column("p", "p (Holm)", p_value),
)
_CHANGES = (Column("of", "of", left=True), Column("change", "with", left=True), *_LAST)
_PROTOCOLS = (Column("of", "method", left=True), Column("change", "protocols", left=True), *_LAST)
