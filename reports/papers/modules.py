"""ADQ's Table 3: its scores one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reports.collection import Setting
from reports.papers.layout import (
    Cells,
    arithmetic_note,
    as_printed,
    gain_as_printed,
    mean_over,
    of_images,
    runs_of,
)
from reports.runs import Series, accuracy, by_setting, differences
from reports.statistics import Estimate, interval_over_seeds
from reports.tables import Column, Table, ascii_name, plus_minus, signed

_MODULES = (("none", "DQ"), ("rs", "+ RS"), ("ds", "+ DS"), ("rs+ds", "+ IS (RS + DS)"))


def table_three(series: Iterable[Series]) -> list[Table]:
    """Return Table 3's layout: DQ, and ADQ with each of its scores, by ratio."""
    tables = []
    for setting, here in by_setting(of_images(series)).items():
        modules = {key: [one for one in here if _module(one) == key] for key, _ in _MODULES}
        if sum(map(bool, modules.values())) > 2 and modules["none"]:
            tables.append(_table_three(setting, here, modules))
    return tables


def _table_three(
    setting: Setting, here: Sequence[Series], modules: Mapping[str, Sequence[Series]]
) -> Table:
    percents = sorted({one.percent for members in modules.values() for one in members})
    rows: list[dict[str, Any]] = []
    links: Cells = {}
    for key, title in _MODULES:
        row: dict[str, Any] = {"module": title}
        gains = []
        for percent in percents:
            one = next((o for o in modules[key] if o.percent == percent), None)
            if one is None:
                continue
            row[f"{percent:g}"] = one.estimate(accuracy)
            links[len(rows), f"{percent:g}"] = one.ids
            base = next((o for o in modules["none"] if o.percent == percent), None)
            gain = {} if base is None else differences(one, base, accuracy)
            if gain:
                row[f"{percent:g} gain"] = interval_over_seeds(gain)
                gains.append(gain)
        if key != "none" and len(gains) == len(percents):
            row["mean gain"] = mean_over(gains)
        if key == "none":
            row = {name: value for name, value in row.items() if not name.endswith("gain")}
        rows.append(row)
    full = [one for one in here if one.name == "full"]
    columns = [Column("module", "", left=True)]
    for percent in percents:
        columns.append(Column(f"{percent:g}", f"{percent:g} %", as_printed))
        columns.append(Column(f"{percent:g} gain", "vs DQ", gain_as_printed))
    if full:
        columns.append(Column("100", "100 %", as_printed))
        for row in rows:
            row["100"] = full[0].estimate(accuracy)
    columns.append(Column("mean gain", "mean gain", _mean_gain))
    notes = [
        "Layout of ADQ's Table 3: accuracy in %, last epoch, mean ± half of the 95 % interval; "
        "differences to DQ paired over common seeds. "
        f"Runs of each cell: {runs_of([one for members in modules.values() for one in members])}.",
        "Mean gain: over the ratios, full data left out; its interval is over the seeds, where all "
        f"ratios have the same. Protocol: {setting.protocol}.",
        *arithmetic_note("adq-table3", setting.dataset),
    ]
    return Table(
        f"ADQ's scores one by one: {setting.title}", columns, rows, notes,
        links=links, name=ascii_name(f"table3 {setting.title}"),
    )  # fmt: skip


def _mean_gain(estimate: Estimate) -> str:
    return f"{signed(estimate.mean)}{plus_minus(estimate)}"


def _module(one: Series) -> str | None:
    """Return which line of Table 3 a series belongs to, or None."""
    extra = set(one.given) - {"scores", "extractor", "extractor_epochs"}
    if extra or one.name not in ("dq", "adq"):
        return None
    if one.name == "dq":
        return "none"
    key = one.given.get("scores", "rs+ds")
    return key if key in ("rs", "ds", "rs+ds") else None
