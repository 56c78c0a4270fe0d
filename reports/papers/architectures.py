"""ADQ's Table 1: architectures by method and ratio."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from reports.collection import Setting
from reports.papers.layout import (
    Cells,
    Method,
    arithmetic_note,
    as_printed,
    gain_as_printed,
    mean_over,
    of_images,
    runs_of,
    specs_note,
)
from reports.runs import (
    Series,
    accuracy,
    by_setting,
    control_at,
    differences,
    labels,
)
from reports.statistics import Estimate, Runs, interval_over_seeds
from reports.tables import Column, Table, ascii_name, number

TABLE_ONE = ("dm", "dq", "adq")
"""The methods of the paper's Table 1, in its order."""
_AVERAGE = "Average"
_ROWS = ("resnet18", "resnet50", "vit", "swin", "convnext")
"""The architectures of the paper's Table 1, in its order; others stand above."""
_COMPARED = {"dq": ("adq",), "random": ("graphcut", *TABLE_ONE)}
"""The methods whose differences to another stand in the table."""
_PRINTED = {"dm": "DM", "dq": "DQ", "adq": "ADQ", "graphcut": "GraphCut"}
"""Methods in the papers' spelling."""
_ARCHITECTURE = Column("architecture", "architecture", left=True)
_FULL = Column("full 100", "full 100", as_printed)
_TRANSFORMERS = "transformer"


def table_one(series: Iterable[Series], against: str = "dq") -> list[Table]:
    """Return Table 1's layout: architectures by method and ratio, with averages.

    Behind the accuracies stand the differences to another method, paired over common seeds: to
    DQ for ADQ, as the paper prints them, or to random for all; then each ratio has a row.

    Parameters
    ----------
    series : iterable of Series
        Those of other experiments are left out.
    against : str
        The method that the others are compared with, ``dq`` or ``random``.

    Returns
    -------
    list of Table
        One for each data set and protocol. ViT, Swin and ConvNeXt, trained with the protocol
        ``transformer``, stand with the networks of the others.
    """
    shown = ("full", *TABLE_ONE) if against == "dq" else ("full", "random", "graphcut", *TABLE_ONE)
    chosen = [one for one in of_images(series) if one.name in shown and not one.is_ablation]
    tables = []
    for where, settings in _families(by_setting(chosen)).items():
        here = [one for setting in settings for one in chosen if one.setting == setting]
        if {"dq", "adq"} <= {one.name for one in here}:
            tables.append(_table_one(where, settings, here, against))
    return tables


def _families(settings: Iterable[Setting]) -> dict[str, list[Setting]]:
    """Return the settings of each table, by the data set and the protocol in words.

    A table has one row for an architecture. The recipe for ViT, Swin and ConvNeXt joins the
    protocols that count epochs, and its twin of equal steps those that count steps.
    """
    twins = [one for one in settings if one.protocol.startswith(_TRANSFORMERS)]
    plain = [one for one in settings if one not in twins]
    found: dict[str, list[Setting]] = defaultdict(list)
    for one in plain or twins:
        found[f"{one.data} ({one.fingerprint}), protocol {one.protocol}"].append(one)
    for members in found.values():
        own = members[0]
        members += [
            twin
            for twin in twins
            if plain
            and twin.model not in {one.model for one in members}
            and (twin.dataset, twin.fingerprint) == (own.dataset, own.fingerprint)
            and _by_steps(twin) == _by_steps(own)
        ]
        members.sort(key=lambda one: _ROWS.index(one.model) if one.model in _ROWS else -1)
    return dict(found)


def _by_steps(setting: Setting) -> bool:
    return setting.protocol.startswith("matched-steps") or "match=steps" in setting.protocol


class _Entry(NamedTuple):
    """A method's accuracy at one ratio on one architecture, and what it gains."""

    setting: Setting
    method: Method
    percent: float
    reached: Runs
    gain: Runs
    ids: Sequence[str]


def _table_one(
    where: str, settings: Sequence[Setting], here: Sequence[Series], against: str
) -> Table:
    called = labels(here)
    others = [one for one in sorted(here, key=lambda one: one.order) if one.is_budgeted]
    methods = {one.method: one.name for one in others}
    entries = [_entry(one, here, against) for one in others]
    full = {one.setting: one for one in here if one.name == "full"}
    names = _headings(methods, called)
    compared = {entry.method for entry in entries if entry.gain}
    fill = _ratios_across if against == "dq" else _ratios_down
    columns, rows, links = fill(settings, entries, {m: (called[m], names[m]) for m in methods},
                                compared, f"vs {_PRINTED.get(against, against)}", full)  # fmt: skip
    notes = [
        "Layout of ADQ's Table 1: top-1 accuracy in %, last epoch, by percent kept; in brackets "
        f"the difference to {against} at the same ratio, paired over common seeds.",
        "Mean ± half of the 95 % interval (Student's t) over the runs; one run has no interval. "
        f"Runs of each cell: {runs_of(here)}.",
        "Average: over the architectures, of differences too, only where all have the number; its "
        "interval is over the seeds, where all have the same.",
        *_recipes(settings),
        *specs_note(called, list(methods)),
        *arithmetic_note("adq-table1", settings[0].dataset, against == "dq"),
    ]
    title = f"Architectures and ratios, differences to {_PRINTED.get(against, against)}: {where}"
    name = ascii_name(
        f"table1 {where.split(' (')[0]} {where.rpartition('protocol ')[2]} vs {against}"
    )
    return Table(title, columns, rows, notes, links=links, name=name)


def _entry(one: Series, here: Sequence[Series], against: str) -> _Entry:
    gain: Runs = {}
    if one.name in _COMPARED[against]:
        neighbours = [other for other in here if other.setting == one.setting]
        control = _reference(neighbours, one, against)
        gain = {} if control is None else differences(one, control, accuracy)
    return _Entry(one.setting, one.method, one.percent, one.values(accuracy), gain, one.ids)


def _headings(methods: Mapping[Method, str], called: Mapping[Method, str]) -> dict[Method, str]:
    """Return what each method is called: the paper's word, where only one method has it."""
    times = Counter(methods.values())
    return {
        method: _PRINTED.get(name, name) if times[name] == 1 else called[method]
        for method, name in methods.items()
    }


Filled = tuple[list[Column], list[dict[str, Any]], Cells]
Names = Mapping[Method, tuple[str, str]]
"""For each method the key of its columns and their heading."""


def _ratios_across(
    settings: Sequence[Setting], entries: Sequence[_Entry], names: Names,
    compared: Container[Method], versus: str, full: Mapping[Setting, Series],
) -> Filled:  # fmt: skip
    """Return a row for each architecture, a column for each method and ratio, as printed."""
    columns = [_ARCHITECTURE]
    rows: list[dict[str, Any]] = [{"architecture": setting.model} for setting in settings]
    links: Cells = {}
    for method, (key, heading) in names.items():
        for percent in sorted({one.percent for one in entries if one.method == method}):
            columns.append(Column(f"{key} {percent:g}", f"{heading} {percent:g}", as_printed))
            if method in compared:
                columns.append(Column(f"{key} {percent:g} gain", versus, gain_as_printed))
    for one in entries:
        place, key = settings.index(one.setting), f"{names[one.method][0]} {one.percent:g}"
        rows[place] |= {key: one.reached, f"{key} gain": one.gain}
        links[place, key] = one.ids
    if full:
        columns.append(_FULL)
    for setting, series in full.items():
        rows[settings.index(setting)][_FULL.key] = series.values(accuracy)
        links[settings.index(setting), _FULL.key] = series.ids
    columns = [c for c in columns if any(row.get(c.key) for row in rows)]
    if len(settings) > 1:
        rows.append({"architecture": _AVERAGE, **_averages(columns[1:], rows)})
    return columns, [_shown(row) for row in rows], links


def _ratios_down(
    settings: Sequence[Setting], entries: Sequence[_Entry], names: Names,
    compared: Container[Method], versus: str, full: Mapping[Setting, Series],
) -> Filled:  # fmt: skip
    """Return a row for each architecture and ratio: so many methods fit beside each other."""
    columns = [_ARCHITECTURE, Column("percent", "kept %", number)]
    for method, (key, heading) in names.items():
        columns.append(Column(key, heading, as_printed))
        if method in compared:
            columns.append(Column(f"{key} gain", versus, gain_as_printed))
    if full:
        columns.append(_FULL)
    rows: list[dict[str, Any]] = []
    links: Cells = {}
    percents = sorted({one.percent for one in entries})
    for setting in settings:
        for percent in percents:
            row: dict[str, Any] = {"architecture": setting.model, "percent": percent}
            for one in entries:
                if (one.setting, one.percent) == (setting, percent):
                    key = names[one.method][0]
                    row |= {key: one.reached, f"{key} gain": one.gain}
                    links[len(rows), key] = one.ids
            if len(row) == 2:
                continue
            if setting in full:
                row[_FULL.key] = full[setting].values(accuracy)
                links[len(rows), _FULL.key] = full[setting].ids
            rows.append(row)
    if len(settings) > 1:
        for percent in percents:
            mine = [row for row in rows if row["percent"] == percent]
            mean = _averages(columns[2:], mine) if len(mine) == len(settings) else {}
            if mean:
                rows.append({"architecture": _AVERAGE, "percent": percent, **mean})
    return columns, [_shown(row) for row in rows], links


def _averages(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """Return the mean of each column that every row has a number in."""
    averages = {}
    for column in columns:
        members = [row[column.key] for row in rows if row.get(column.key)]
        if len(members) == len(rows) > 1:
            averages[column.key] = mean_over(members)
    return averages


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its runs as estimates; what has no runs is left out."""
    return {
        key: interval_over_seeds(value) if isinstance(value, Mapping) else value
        for key, value in row.items()
        if value != {}
    }


def _reference(here: Sequence[Series], one: Series, name: str) -> Series | None:
    """Return the series of a control that has the same parameters, or else the plain one."""
    same = [
        other
        for other in here
        if (other.name, other.percent, other.of, other.given)
        == (name, one.percent, one.of, one.given)
    ]
    return same[0] if same else control_at(here, one, name)


def _recipes(settings: Sequence[Setting]) -> list[str]:
    protocols = {one.protocol for one in settings}
    if len(protocols) == 1:
        return [f"Protocol: {settings[0].protocol}."]
    told = "; ".join(
        f"{protocol}: {', '.join(one.model for one in settings if one.protocol == protocol)}"
        for protocol in sorted(protocols)
    )
    return [f"Protocols: {told}. The papers do not say how ViT, Swin and ConvNeXt were trained."]
