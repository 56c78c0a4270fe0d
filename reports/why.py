"""Where a number comes from: its cells, seeds, costs, code and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.contract import METHODS
from bench.datasets import DATASETS
from bench.errors import UsageError, listed, unknown
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from reports.collection import Collection, Key, Setting, setting_of
from reports.durations import duration
from reports.reading import Row
from reports.tables import Column, Table, difference, number, percent

if TYPE_CHECKING:
    from bench.registry import Registry

_AXES = ("method", "ratio", "model", "protocol", "dataset")
_REGISTRIES: Mapping[str, Registry[Any]] = {
    "method": METHODS, "model": MODELS, "protocol": PROTOCOLS, "dataset": DATASETS,
}  # fmt: skip
FORM = "METHOD:RATIO[:MODEL[:PROTOCOL[:DATASET]]], e.g. adq:10:resnet18"


def number_tables(results: Collection, asked: str) -> list[Table]:
    """Return a table for every number that a text like ``adq:10:resnet18`` names.

    A part is a spec in any spelling that options accept, or a component's name, which stands for
    all of that name where none is recorded with its defaults; a part that is empty or left out
    stands for all.

    Raises
    ------
    UsageError
        When nothing is recorded of what is asked.
    """
    parts = _parts(asked)
    places = [
        (setting, key)
        for setting in results.settings()
        for key in results.at(setting).keys
        if key in results.at(setting).groups or key in results.at(setting).failed
    ]
    for axis, wanted in zip(_AXES, parts, strict=False):
        if wanted:
            if axis == "method":
                wanted = _spec_of(wanted, results)
            values = {_value(axis, *place) for place in places}
            meant = _meant(axis, wanted, values)
            places = [place for place in places if _value(axis, *place) in meant]
    return [_table(results, setting, key) for setting, key in places]


def _parts(asked: str) -> list[str]:
    """Return what stands between the colons outside of brackets."""
    parts, depth = [""], 0
    for character in asked:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if len(parts) > len(_AXES):
        raise UsageError(f"'{asked}' has too many parts. Give {FORM}")
    return [part.strip() for part in parts]


def _spec_of(name: str, results: Collection) -> str:
    """Return the spec of what tables call by this name; else the name."""
    here = (results.at(setting) for setting in results.settings())
    called = {one.names[key]: key.spec for one in here for key in one.keys}
    return called.get(name, name)


def _value(axis: str, setting: Setting, key: Key) -> str:
    values = {
        "method": key.spec,
        "ratio": key.ratio_label,
        "model": setting.model,
        "protocol": setting.protocol,
        "dataset": setting.dataset,
    }
    return values[axis]


def _meant(axis: str, wanted: str, values: set[str]) -> set[str]:
    """Return the values that a text means: itself, what it stands for, or those of that name."""
    if axis == "ratio":
        wanted = _ratio(wanted)
    for spelled in (wanted, MODELS.long_form(wanted) if axis == "model" else wanted):
        if spelled in values:
            return {spelled}
    found = _made(axis, wanted) & values or {one for one in values if _name(one) == wanted}
    if found:
        return found
    names = {_name(value) for value in values}
    if axis in _REGISTRIES and _name(wanted) not in names:
        raise unknown(axis, wanted, names, f"Give {FORM}")
    raise UsageError(  # without a hint: the nearest text is another number
        f"nothing is recorded of {axis} '{wanted}'. Recorded: {listed(values)}. Give {FORM}"
    )


def _made(axis: str, text: str) -> set[str]:
    """Return the specs of the components that a text with parameters names, as options do."""
    if "[" not in text or axis not in _REGISTRIES:
        return set()
    try:
        return {component.spec for component in _REGISTRIES[axis].make(text)}
    except UsageError:  # of a plugin that is gone perhaps, or of another version
        return set()


def _name(spec: str) -> str:
    return spec.partition("[")[0]


def _ratio(text: str) -> str:
    number_of, suffix = text.removesuffix("b"), "b" * text.endswith("b")
    try:
        return f"{float(number_of.removesuffix('%')):g}{suffix}"
    except ValueError:
        return text


def _table(results: Collection, setting: Setting, key: Key) -> Table:
    here = results.at(setting)
    group, failed = here.groups.get(key, []), here.failed.get(key, [])
    reached = here.estimate(key)
    origins = sorted({_origin(row) for row in (*group, *failed)})
    rows: list[dict[str, Any]] = [
        {**row, "seeds": _seeds(row), "from": f"[{origins.index(_origin(row)) + 1}]"}
        for row in sorted(group, key=lambda row: (row["selection_seed"], row["training_seed"]))
    ]
    told = "no complete cell" if reached is None else f"{percent(reached)} %, n = {reached.n}"
    links = {(place, "accuracy"): [row["id"]] for place, row in enumerate(rows)}
    return Table(
        f"{here.names[key]} at {key.ratio:g} %{' of bytes' * (key.of == 'bytes')}, "
        f"{setting.title}: {told}",
        _COLUMNS,
        rows,
        [*_notes(here, key, group), *_failures(failed), *_told(origins)],
        links=links,
    )


def _notes(here: Collection, key: Key, group: Sequence[Row]) -> list[str]:
    if not group:
        return []
    first = group[0]
    notes = [
        "Accuracy: top-1 on the test split in %, last epoch. Selection: everything behind it, made "
        "or found. Seeds: selection/training.",
        f"Kept: {number(first['images'])} of {number(first['full_images'])} images, "
        f"{number(first['bytes'])} bytes; {number(first['steps'])} steps. "
        f"Data: {setting_of(first).data} ({first['fingerprint']}).",
    ]
    control = [
        other
        for other in here.groups
        if (other.spec, other.ratio, other.of) == ("random", key.ratio, key.of)
    ]
    if key.spec != "random" and control:
        effect = here.compared(key, control[0])
        if effect is not None:
            told = difference(effect.estimate())
            pairs = "pair with common seeds" if effect.n == 1 else "pairs with common seeds"
            notes.append(f"Vs random: {told} points over {effect.n} {pairs}.")
    finished = sorted(row["finished"] for row in group if row.get("finished"))
    if finished:
        notes.append(f"Finished: {' to '.join(dict.fromkeys((finished[0], finished[-1])))}.")
    return notes


def _failures(failed: Sequence[Row]) -> list[str]:
    return [
        f"Failed: {row['id']}, seeds {_seeds(row)}, in {row['phase']}: {row['cause']}"
        for row in failed
    ]


def _told(origins: Sequence[str]) -> list[str]:
    return [f"[{place}] {origin}" for place, origin in enumerate(origins, start=1)]


def _origin(row: Row) -> str:
    host = row.get("host", "")
    return f"{row['origin']}{f', on {host}' if host else ''}"


def _seeds(row: Row) -> str:
    return f"{row['selection_seed']}/{row['training_seed']}"


_COLUMNS = (
    Column("id", "cell", left=True),
    Column("seeds", "seeds"),
    Column("accuracy", "accuracy", "{:.2f}".format),
    Column("selection_s", "selection", duration),
    Column("training_s", "training", duration),
    Column("testing_s", "testing", duration),
    Column("from", "from"),
)
