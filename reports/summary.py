"""The main tables: accuracy and difference to random; failures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from reports.collection import (
    CONTROL,
    Collection,
    Key,
    Setting,
    macro_keys,
    with_axis,
)
from reports.naming import marked_specs
from reports.reading import Row, bytes_note
from reports.spending import cost_table
from reports.statistics import best_of
from reports.tables import Column, Table, difference, number, percent
from reports.versions import outdated_notes

__all__ = ["CONTROL", "Collection", "Setting", "accuracy_table", "all_tables", "failure_table"]


def accuracy_table(results: Collection, setting: Setting) -> Table:
    """Return the table of one setting: a row for each method and ratio."""
    here = results.at(setting)
    groups, failed = here.groups, here.failed
    control = {(key.ratio, key.of): key for key in groups if key.spec == CONTROL}
    rows: list[dict[str, Any]] = []
    pairs: dict[Key, str] = {}
    specs = marked_specs(here.keys)
    links: dict[tuple[int, str], Sequence[str]] = {}
    for place, key in enumerate(here.keys):
        group = groups.get(key, [])
        against = None if key.spec == CONTROL else control.get((here.kept_percent(key), key.of))
        to_random = here.compared(key, against)
        if to_random and to_random.n != len(group):
            pairs[key] = (
                f"{here.names[key]} at {here.kept_percent(key):g} %"
                f"{' of bytes' * (key.of == 'bytes')}: {to_random.n} pairs with random."
            )
        rows.append(
            {
                "method": here.names[key],
                "spec": specs[key],
                "percent": here.kept_percent(key),
                "of": key.of,
                "images": round(fmean(row["images"] for row in group)) if group else None,
                "accuracy": here.estimate(key),
                "n": len(group),
                "failed": len(failed.get(key, [])),
                "to_random": to_random.estimate() if to_random else None,
                "best_epoch_accuracy": here.estimate(key, "best_accuracy"),
            }
        )
        ids = here.ids(key)
        if ids:
            links |= {(place, c): ids for c in ("accuracy", "n", "best_epoch_accuracy")}
            links[place, "to_random"] = [*ids, *here.ids(against)]
    columns = with_axis(_ACCURACY_COLUMNS, rows)
    if all(row["best_epoch_accuracy"] is None for row in rows):
        columns.pop()
    compares = any(len(rivals) > 1 for rivals in _rivals(here).values())
    best = {here.keys.index(key) for key in _significantly_best(here)}

    def notes_of(places: Sequence[int]) -> list[str]:
        shown = [here.keys[place] for place in places]
        return [
            *_accuracy_notes(here, setting, shown),
            *(pairs[key] for key in shown if key in pairs),
        ]

    return Table(
        setting.title,
        [*columns, *([_FAILED_COLUMN] if failed else [])],
        rows,
        notes_of(range(len(rows))),
        notes_of=notes_of,
        bold=frozenset((place, "accuracy") for place in best),
        links=links,
        name=f"accuracy-{results.slug(setting)}",
        keys=macro_keys(results, setting, here.keys),
        emphasis=_EMPHASIS if compares else "",
    )


def _rivals(here: Collection) -> dict[tuple[float, str], list[Key]]:
    """Return the methods that may be the best of each ratio, by what is kept: all but full data."""
    found: dict[tuple[float, str], list[Key]] = defaultdict(list)
    for key in here.groups:
        if key.spec != "full":
            found[here.kept_percent(key), key.of].append(key)
    return found


def _significantly_best(here: Collection) -> list[Key]:
    """Return the keys that are shown to be better than every other one of their ratio."""
    found = (
        best_of({key: fmean(here.runs(key).values()) for key in rivals}, here.compared)
        for rivals in _rivals(here).values()
    )
    return [key for key in found if key is not None]


def failure_table(results: Collection) -> Table:
    """Return the cells that failed, with their causes."""
    kinds = Counter(f"{row['type']} in {row['phase']}" for row in results.failures)
    told = ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())
    notes = [f"By kind: {told}."] if len(results.failures) > 1 else []
    return Table("Cells that failed", _FAILURE_COLUMNS, results.failures, notes, name="failures")


def all_tables(results: Collection) -> list[Table]:
    """Return what a terminal shows: accuracy and cost of all settings, and the failures."""
    settings = results.settings()
    made = [accuracy_table(results, setting) for setting in settings]
    costs = [cost_table(results, setting) for setting in settings]
    made += [table for table in costs if table.rows]
    return [*made, failure_table(results)] if results.failures else made


def _accuracy_notes(here: Collection, setting: Setting, shown: Sequence[Key]) -> list[str]:
    """Return what is said of the rows that are shown."""
    rows = [row for key in shown for row in here.groups.get(key, ())]
    specs, failures = marked_specs(here.keys), sum(len(here.failed.get(k, ())) for k in shown)
    notes = [
        "Accuracy: top-1 on the test split in %, last epoch; mean ± half of its 95 % interval "
        "(Student's t) over n runs; one run has no interval.",
        "Vs random: paired over common seeds, same budget and training.",
        *_best_epoch(rows),
        f"Data: {setting.data} ({setting.fingerprint}). Protocol: {setting.protocol}.",
        _seeds(here, shown),
        *bytes_note(here.spending_bytes(shown)),
        *outdated_notes(rows),
    ]
    if any(row["reconstruction"] for row in rows):
        notes.append("A reconstruction: neither code nor enough equations were published.")
    if any(specs[key] != key.spec and "#" in here.names[key] for key in shown):
        notes.append("Methods marked # have the same name and other defaults or versions.")
    if len({row["source_digest"] for row in rows}) > 1:
        notes.append("The cells come from different versions of the code (see their records).")
    if failures:
        notes.append(f"Failed cells: {failures:,}; their causes stand below.")
    return notes + _incomplete(here, shown)


def _best_epoch(rows: Sequence[Row]) -> list[str]:
    """Return what the best epoch is chosen from, where there is a choice."""
    if all(row["best_accuracy"] is None for row in rows):
        return []
    numbers = sorted({row["tested_epochs"] for row in rows} - {None})
    among = f"of the {'/'.join(map(str, numbers))} tested, " if numbers else ""
    return [f"Best epoch: {among}chosen on the test split, optimistic; for comparison only."]


def _incomplete(here: Collection, shown: Sequence[Key]) -> list[str]:
    """Return how many training seeds the rows have, where they differ, in one sentence.

    The most frequent number is that of the other rows; rows of the rest are named where they are
    few.
    """
    groups: dict[int, list[Key]] = defaultdict(list)
    for key in shown:
        groups[len({row["training_seed"] for row in here.groups.get(key, ())})].append(key)
    groups.pop(0, None)
    if len(groups) < 2:
        return []
    counts = sorted(groups, reverse=True)
    usual = max(counts, key=lambda count: len(groups[count]))
    told = []
    for count in counts:
        rows = f"{len(groups[count])} row{'s' * (len(groups[count]) > 1)}"
        names = _named(here, groups[count], shown)
        which = f"the other {rows}" if count == usual else rows
        if count != usual and len(names) <= _LISTED:
            which = ", ".join(names)
        told.append(f"{count} seed{'s' * (count > 1)}: {which}")
    return [f"Incomplete: rows differ in their number of training seeds. {'; '.join(told)}."]


def _named(here: Collection, keys: Sequence[Key], shown: Sequence[Key]) -> list[str]:
    """Return the methods of rows, each with its ratios where others of its rows are apart."""
    ratios: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        ratios[here.names[key]].append(f"{here.kept_percent(key):g}")
    whole = Counter(here.names[key] for key in shown)
    return [
        name if len(found) == whole[name] else f"{name} at {' and '.join(found)} %"
        for name, found in ratios.items()
    ]


def _seeds(here: Collection, shown: Sequence[Key]) -> str:
    """Return which runs the rows are made of."""
    layouts = {
        tuple(sorted(here.runs(key)))
        for key in shown
        if key in here.groups and here.groups[key][0]["seeded"]
    }
    if len(layouts) > 1:
        return "Seeds differ between rows (other sweeps in this folder); the records tell which."
    pairs = " ".join(
        f"{selection}/{training}" for layout in layouts for selection, training in layout
    )
    return f"Seeds of selection/training: {pairs or 'training only'}."


_LISTED = 8
"""Methods; more are only counted."""
_EMPHASIS = (
    "Bold: the best of its ratio (full data apart), where it is better than every other row there: "
    "paired differences, Holm's correction, 5 %. Otherwise none is bold."
)
_ACCURACY_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("images", "images", number, word="images"),
    Column("accuracy", "accuracy %", percent, word="acc"),
    Column("n", "n", number, word="n"),
    Column("to_random", "vs random", difference, word="vs-random"),
    Column("best_epoch_accuracy", "best epoch", percent, word="best-epoch"),
)
_FAILED_COLUMN = Column("failed", "failed", number, word="failed")
_FAILURE_COLUMNS = (
    Column("id", "cell", left=True),
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("training_seed", "seed", number),
    Column("phase", "phase", left=True),
    Column("cause", "cause", left=True),
)
