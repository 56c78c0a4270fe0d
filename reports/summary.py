"""The main tables: accuracy, difference to random and what was kept; and the cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.results import flat
from reports.statistics import Estimate, paired_difference, t_interval
from reports.tables import Column, Table, difference, duration, number, percent, size

Row = Mapping[str, Any]
CONTROL = "random"
_ABSOLUTE_ORDER = {"full": 0, CONTROL: 1}


@dataclass(frozen=True)
class Setting:
    """What all rows of one table share."""

    dataset: str
    fingerprint: str
    model: str
    protocol: str

    @property
    def title(self) -> str:
        """The setting in words."""
        return f"{self.dataset}, {self.model}, protocol {self.protocol}"


@dataclass(frozen=True)
class Results:
    """Records and failures, grouped by setting."""

    rows: Sequence[Row]
    failures: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(
        cls, records: Iterable[Mapping[str, Any]], failures: Iterable[Mapping[str, Any]] = ()
    ) -> Results:
        """Return the results of records and failures as they are stored."""
        return cls([flat(dict(record)) for record in records], list(failures))

    def settings(self) -> list[Setting]:
        """Return the settings that occur, sorted."""
        found = {_setting(row) for row in self.rows} | {_failed_setting(f) for f in self.failures}
        return sorted(found, key=lambda setting: setting.title)

    def at(self, setting: Setting) -> Results:
        """Return what belongs to one setting."""
        return Results(
            [row for row in self.rows if _setting(row) == setting],
            [f for f in self.failures if _failed_setting(f) == setting],
        )


def accuracy_table(results: Results, setting: Setting) -> Table:
    """Return the table of one setting: a row for each method and ratio."""
    here = results.at(setting)
    groups = _groups(here.rows)
    failed = _failed_counts(here)
    rows = []
    for method, ratio in sorted({*groups, *failed}, key=_order):
        group = groups.get((method, ratio), [])
        control = [] if method == CONTROL else groups.get((CONTROL, ratio), [])
        first = group[0] if group else {}
        rows.append(
            {
                "method": method,
                "percent": ratio,
                "accuracy": _estimate(group, "accuracy"),
                "n": len(group),
                "failed": failed.get((method, ratio), 0),
                "to_random": _to_control(group, control),
                "best_epoch_accuracy": _estimate(group, "best_accuracy"),
                "images": first.get("images"),
                "bytes": first.get("bytes"),
            }
        )
    columns = [*_ACCURACY_COLUMNS, *([_FAILED_COLUMN] if failed else [])]
    return Table(setting.title, columns, rows, _accuracy_notes(here, setting))


def cost_table(results: Results, setting: Setting) -> Table:
    """Return the cost of one setting's cells: mean seconds by stage."""
    here = results.at(setting)
    rows = [
        {
            "method": method,
            "percent": ratio,
            **{key: fmean(row[key] for row in group) for key in _STAGES},
            "total_s": fmean(sum(row[key] for key in _STAGES) for row in group),
            "steps": group[0]["steps"],
            "n": len(group),
        }
        for (method, ratio), group in sorted(_groups(here.rows).items(), key=lambda i: _order(i[0]))
    ]
    devices = sorted({row["device"] for row in here.rows})
    kind = "device-seconds" if any(d.startswith("cuda") for d in devices) else "CPU wall seconds"
    notes = [
        f"Mean {kind} of one cell on {', '.join(devices) or 'no device'}.",
        "Selection charges every artefact behind it (network, embeddings, bins, scores) to each "
        "method that uses it, cached or not.",
    ]
    return Table(f"Cost: {setting.title}", _COST_COLUMNS, rows, notes)


def failure_table(results: Results) -> Table:
    """Return the cells that failed, with their causes."""
    rows = [
        {
            "cell": failure["id"],
            "method": failure["specs"]["method"],
            "percent": float(failure["cell"]["budget"]["percent"]),
            "seed": failure["cell"]["training_seed"],
            "phase": failure["phase"],
            "cause": f"{failure['type']}: {failure['message'].splitlines()[0]}",
        }
        for failure in results.failures
    ]
    return Table("Cells that failed", _FAILURE_COLUMNS, rows)


def _estimate(group: Sequence[Row], key: str) -> Estimate | None:
    return t_interval([row[key] for row in group]) if group else None


def _to_control(group: Sequence[Row], control: Sequence[Row]) -> Estimate | None:
    def by_seed(rows: Sequence[Row]) -> dict[Hashable, float]:
        return {(r["selection_seed"], r["training_seed"]): r["accuracy"] for r in rows}

    return paired_difference(by_seed(group), by_seed(control))


def _groups(rows: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    groups: dict[tuple[str, float], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["method"], row["percent"]].append(row)
    return dict(groups)


def _failed_counts(results: Results) -> dict[tuple[str, float], int]:
    counts: dict[tuple[str, float], int] = defaultdict(int)
    for failure in results.failures:
        counts[failure["specs"]["method"], float(failure["cell"]["budget"]["percent"])] += 1
    return dict(counts)


def _order(key: tuple[str, float]) -> tuple[float, int, str]:
    method, ratio = key
    return (-ratio if method == "full" else ratio), _ABSOLUTE_ORDER.get(method, 2), method


def _accuracy_notes(here: Results, setting: Setting) -> list[str]:
    notes = [
        "Accuracy: top-1 on the test split in %, last epoch; mean ± 95 % t-interval over n runs; "
        "one run has no interval.",
        "Vs random: paired over common seeds, same budget and training.",
        "Best ep.: the best epoch, chosen on the test split, optimistic; for comparison only.",
        f"Data: {setting.dataset} ({setting.fingerprint}).",
    ]
    if len({row["source_digest"] for row in here.rows}) > 1:
        notes.append("The cells come from different versions of the code (see their records).")
    if here.failures:
        notes.append(f"Failed cells: {len(here.failures)}; their causes stand below.")
    return notes


def _setting(row: Row) -> Setting:
    return Setting(row["dataset"], row["fingerprint"], row["model"], row["protocol"])


def _failed_setting(failure: Mapping[str, Any]) -> Setting:
    specs = failure["specs"]
    fingerprint = failure["cell"]["dataset"]["fingerprint"]
    return Setting(specs["dataset"], fingerprint, specs["model"], specs["protocol"])


_STAGES = ("selection_s", "training_s", "testing_s")
_ACCURACY_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("images", "images", number),
    Column("bytes", "bytes", size),
    Column("accuracy", "accuracy %", percent),
    Column("n", "n", number),
    Column("to_random", "vs random", difference),
    Column("best_epoch_accuracy", "best ep.", lambda estimate: f"{estimate.mean:.2f}"),
)
_FAILED_COLUMN = Column("failed", "failed", number)
_COST_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("selection_s", "selection", duration),
    Column("training_s", "training", duration),
    Column("testing_s", "testing", duration),
    Column("total_s", "total", duration),
    Column("steps", "steps", number),
    Column("n", "n", number),
)
_FAILURE_COLUMNS = (
    Column("cell", "cell", left=True),
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("seed", "seed", number),
    Column("phase", "phase", left=True),
    Column("cause", "cause", left=True),
)
