"""ADQ's Table 1: architectures by method and ratio."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from reports.collection import Setting
from reports.papers.layout import (
    ARITHMETIC,
    Cells,
    as_printed,
    gain_as_printed,
    runs_of,
    specs_note,
)
from reports.runs import (
    Series,
    accuracy,
    by_setting,
    control_at,
    difference,
    labels,
)
from reports.statistics import Estimate
from reports.tables import Column, Table, ascii_name

TABLE_ONE = ("dm", "dq", "adq")
"""The methods of the paper's Table 1, in its order."""
_AVERAGE = "Average"
_TRANSFORMERS = "transformer"


def table_one(series: Iterable[Series], against: str = "dq") -> list[Table]:
    """Return Table 1's layout: architectures by method and ratio, with averages.

    Behind the accuracies stand the differences to another method, paired over common seeds: to
    DQ for ADQ, as the paper prints them, or to random for all.

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
    chosen = [one for one in series if one.name in shown and not one.is_ablation]
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
        found[f"{one.dataset} ({one.fingerprint}), protocol {one.protocol}"].append(one)
    for members in found.values() if plain else ():
        own = members[0]
        members += [
            twin
            for twin in twins
            if twin.model not in {one.model for one in members}
            and twin.fingerprint == own.fingerprint
            and _by_steps(twin) == _by_steps(own)
        ]
    return dict(found)


def _by_steps(setting: Setting) -> bool:
    return setting.protocol.startswith("matched-steps") or "match=steps" in setting.protocol


def _table_one(
    where: str, settings: Sequence[Setting], here: Sequence[Series], against: str
) -> Table:
    called = labels(here)
    full = [one for one in here if one.name == "full"]
    others = [one for one in sorted(here, key=lambda one: one.order) if one.is_budgeted]
    methods = list(dict.fromkeys(one.method for one in others))
    names = Counter(next(o.name for o in others if o.method == method) for method in methods)
    compared = {"adq"} if against == "dq" else {"graphcut", *TABLE_ONE}
    columns = [Column("architecture", "architecture", left=True)]
    rows: list[dict[str, Any]] = [{"architecture": setting.model} for setting in settings]
    links: Cells = {}
    for method in methods:
        mine = [one for one in others if one.method == method]
        name = mine[0].name if names[mine[0].name] == 1 else called[method]
        for percent in sorted({one.percent for one in mine}):
            key = f"{called[method]} {percent:g}"
            columns.append(Column(key, f"{name.upper()} {percent:g}", as_printed))
            if mine[0].name in compared:
                columns.append(Column(f"{key} gain", f"vs {against}", gain_as_printed))
            for place, setting in enumerate(settings):
                one = next((o for o in mine if (o.setting, o.percent) == (setting, percent)), None)
                if one is None:
                    continue
                neighbours = [other for other in here if other.setting == setting]
                control = _reference(neighbours, one, against)
                rows[place][key] = one.estimate(accuracy)
                links[place, key] = one.ids
                if control is not None and one.name in compared:
                    rows[place][f"{key} gain"] = difference(one, control, accuracy)
    if full:
        columns.append(Column("full 100", "full 100", as_printed))
    for one in full:
        place = settings.index(one.setting)
        rows[place]["full 100"] = one.estimate(accuracy)
        links[place, "full 100"] = one.ids
    columns = [c for c in columns if any(row.get(c.key) is not None for row in rows)]
    if len(settings) > 1:
        rows.append({"architecture": _AVERAGE, **_averages(columns[1:], rows)})
    notes = [
        "Layout of ADQ's Table 1: top-1 accuracy in %, last epoch, by percent kept; in brackets "
        f"the difference to {against} at the same ratio, paired over common seeds.",
        "Mean ± half of the 95 % interval over the runs; one run has no interval. "
        f"Runs of each cell: {runs_of(here)}.",
        "Average: over the architectures, of differences too; only where all have the number.",
        *_recipes(settings),
        *specs_note(called, methods),
        ARITHMETIC["adq-table1"],
    ]
    name = ascii_name(f"table1 {where.split(' (')[0]} {settings[0].protocol} vs {against}")
    return Table(f"Architectures and ratios: {where}", columns, rows, notes, links=links, name=name)


def _averages(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """Return the mean of each column that every row has a number in."""
    averages = {}
    for column in columns:
        values = [row[column.key].mean for row in rows if row.get(column.key) is not None]
        if len(values) == len(rows) > 1:
            averages[column.key] = Estimate(fmean(values), None, len(values))
    return averages


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
        return []
    told = "; ".join(
        f"{protocol}: {', '.join(one.model for one in settings if one.protocol == protocol)}"
        for protocol in sorted(protocols)
    )
    return [f"Protocols: {told}. The papers do not say how ViT, Swin and ConvNeXt were trained."]
