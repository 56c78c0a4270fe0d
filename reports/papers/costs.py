"""ADQ's Table 2: runs, error bars and hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reports.collection import Setting
from reports.durations import duration
from reports.papers.layout import Cells, of_images
from reports.runs import (
    Record,
    Series,
    accuracy,
    by_setting,
    control_at,
    evaluation_s,
    labels,
    selection_s,
)
from reports.statistics import Estimate
from reports.tables import Column, Table, ascii_name, number

_METHODS = ("random", "graphcut", "dm", "dq", "adq")


def table_two(series: Iterable[Series]) -> list[Table]:
    """Return Table 2's layout: runs, error bars and hours, with three kinds of cost apart."""
    chosen = [one for one in of_images(series) if one.name in _METHODS and not one.is_ablation]
    return [
        _table_two(setting, here)
        for setting, here in by_setting(chosen).items()
        if {"dq", "adq"} <= {one.name for one in here}
    ]


def _table_two(setting: Setting, here: Sequence[Series]) -> Table:
    called = labels(here)
    users = Counter(key for one in here for record in one.records for key in _artefacts(record))

    def amortised(record: Record) -> float:
        return sum(float(cost["seconds"]) / users[key] for key, cost in _artefacts(record).items())

    rows: list[dict[str, Any]] = []
    links: Cells = {}
    for place, one in enumerate(sorted(here, key=lambda one: (one.percent, one.order))):
        reached, cold = one.estimate(accuracy), one.mean(selection_s)
        condensed = control_at(here, one, "dm")
        share = cold / condensed.mean(selection_s) if condensed and one.name != "dm" else None
        rows.append(
            {
                "method": called[one.method],
                "percent": one.kept_percent,
                "runs": reached.n,
                "accuracy": Estimate(reached.mean, None, reached.n),
                "error": reached.half_width,
                "cold": cold,
                "amortised": one.mean(amortised),
                "evaluation": one.mean(evaluation_s),
                "of_dm": share,
                "devices": _devices(one),
            }
        )
        links[place, "accuracy"] = one.ids
    notes = [
        "Layout of ADQ's Table 2, whose numbers are not found; its text claims 5 runs, smaller "
        "error bars than DQ's, time on par with DQ's and 1.1 % of DM's.",
        "Error bar: half of the 95 % interval of the accuracy over the runs.",
        "Cold: everything behind one selection, as if nothing were stored. Amortised: each stored "
        "part divided by the runs here that use it. Evaluation: training and testing once.",
        "Times are means over the runs, on the devices named: GPU-hours only where that is cuda. "
        f"Of DM: cold selection. Protocol: {setting.protocol}.",
    ]
    return Table(
        f"Runs, error bars, hours: {setting.title}", _TABLE_TWO, rows, notes,
        links=links, name=ascii_name(f"table2 {setting.title}"),
    )  # fmt: skip


def _artefacts(record: Record) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = record["cost"].get("artefacts", {})
    return found


def _devices(one: Series) -> str:
    """Return the devices that made what was selected with, and those that trained."""
    made = {cost.get("device", "?") for r in one.records for cost in _artefacts(r).values()}
    trained = {record["provenance"]["device"]["device"] for record in one.records}
    return "+".join(sorted({device.split(":")[0] for device in made | trained}))


_share: Callable[[float], str] = "{:.1%}".format
_TABLE_TWO = (
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("runs", "runs", number),
    Column("accuracy", "accuracy %", lambda estimate: f"{estimate.mean:.1f}"),
    Column("error", "error bar", lambda width: f"± {width:.2f}" if width else "equal"),
    Column("cold", "cold", duration),
    Column("amortised", "amortised", duration),
    Column("evaluation", "evaluation", duration),
    Column("of_dm", "of DM", _share),
    Column("devices", "on", left=True),
)
