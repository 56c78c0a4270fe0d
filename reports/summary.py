"""The main tables: accuracy, difference to random and what was kept; and the cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from bench.results import flat, identities
from reports.statistics import Estimate, interval_over_seeds, paired_difference
from reports.tables import Column, Table, difference, duration, number, percent, size

Row = Mapping[str, Any]
CONTROL = "random"
_AXES = ("method", "method_id", "percent", "of", "reconstruction")
RECONSTRUCTION = " (reconstruction)"
_ABSOLUTE_ORDER = {"full": 0, CONTROL: 1}


@dataclass(frozen=True)
class Setting:
    """What all rows of one table share.

    ``id`` tells apart settings of the same names and another identity (data, defaults, version).
    """

    dataset: str
    fingerprint: str
    model: str
    protocol: str
    id: str

    @property
    def title(self) -> str:
        """The setting in words."""
        return f"{self.dataset}, {self.model}, protocol {self.protocol}"


@dataclass(frozen=True)
class Collection:
    """The records and failures that tables are made of."""

    rows: Sequence[Row]
    failures: Sequence[Row] = ()

    @classmethod
    def of(
        cls, records: Iterable[Mapping[str, Any]], failures: Iterable[Mapping[str, Any]] = ()
    ) -> Collection:
        """Return the collection of records and failures as they are stored."""
        rows = [flat(dict(record)) for record in records]
        return cls(rows, [_flat_failure(failure) for failure in failures])

    def settings(self) -> list[Setting]:
        """Return the settings that occur, sorted."""
        found = {_setting(row) for row in (*self.rows, *self.failures)}
        return sorted(found, key=lambda setting: (setting.title, setting.id))

    def at(self, setting: Setting) -> Collection:
        """Return what belongs to one setting."""
        return Collection(
            [row for row in self.rows if _setting(row) == setting],
            [row for row in self.failures if _setting(row) == setting],
        )


def accuracy_table(results: Collection, setting: Setting) -> Table:
    """Return the table of one setting: a row for each method and ratio."""
    here = results.at(setting)
    groups, failed = _groups(here.rows), _groups(here.failures)
    control = {(key.ratio, key.of): group for key, group in groups.items() if key.spec == CONTROL}
    names = _names([*groups, *failed])
    rows, notes = [], _accuracy_notes(here, setting)
    for key in sorted({*groups, *failed}, key=_order):
        group = groups.get(key, [])
        against = [] if key.spec == CONTROL else control.get((key.ratio, key.of), [])
        difference_to_random = _to_control(group, against)
        if difference_to_random and difference_to_random.n != len(group):
            pairs = difference_to_random.n
            notes.append(f"{names[key]} at {key.ratio:g} %: {pairs} pairs with random.")
        rows.append(
            {
                "method": names[key],
                "percent": key.ratio,
                "of": key.of,
                "images": group[0]["images"] if group else None,
                "accuracy": _estimate(group, "accuracy"),
                "n": len(group),
                "failed": len(failed.get(key, [])),
                "to_random": difference_to_random,
                "best_epoch_accuracy": _estimate(group, "best_accuracy"),
            }
        )
    columns = [*_with_axis(_ACCURACY_COLUMNS, rows), *([_FAILED_COLUMN] if failed else [])]
    return Table(setting.title, columns, rows, notes)


def cost_table(results: Collection, setting: Setting) -> Table:
    """Return what one setting's cells keep and cost: bytes, steps, mean seconds by stage."""
    here = results.at(setting)
    groups = _groups(here.rows)
    names = _names(groups)
    rows = [
        {
            "method": names[key],
            "percent": key.ratio,
            "of": key.of,
            "bytes": groups[key][0]["bytes"],
            "steps": groups[key][0]["steps"],
            **{stage: fmean(row[stage] for row in groups[key]) for stage in _STAGES},
            "total_s": fmean(sum(row[stage] for stage in _STAGES) for row in groups[key]),
            "n": len(groups[key]),
        }
        for key in sorted(groups, key=_order)
    ]
    devices = ", ".join(sorted({row["device"] for row in here.rows})) or "no device"
    notes = [
        "Bytes: the kept images uncompressed, with their labels.",
        f"Times: mean seconds of one cell, trained and tested on {devices}; selection charges "
        "every artefact behind it (network, embeddings, bins, scores) to each method that uses "
        "it, cached or not.",
    ]
    return Table(f"Kept and spent: {setting.title}", _with_axis(_COST_COLUMNS, rows), rows, notes)


def failure_table(results: Collection) -> Table:
    """Return the cells that failed, with their causes."""
    return Table("Cells that failed", _FAILURE_COLUMNS, results.failures)


def all_tables(results: Collection) -> list[Table]:
    """Return the tables of all settings, and that of the failures when there are any."""
    settings = results.settings()
    made = [accuracy_table(results, setting) for setting in settings]
    made += [cost_table(results, setting) for setting in settings]
    return [*made, failure_table(results)] if results.failures else made


class _Key(NamedTuple):
    """What the runs of one row of a table have in common."""

    spec: str
    method_id: str
    ratio: float
    of: str
    """``images`` or ``bytes``."""
    reconstruction: bool


def _flat_failure(failure: Mapping[str, Any]) -> Row:
    cell = failure["cell"]
    return {
        "id": failure["id"],
        **identities(cell),
        **failure["specs"],
        "fingerprint": cell["dataset"]["fingerprint"],
        "percent": float(cell["budget"]["percent"]),
        "of": cell["budget"]["of"],
        "reconstruction": failure["method"]["reconstruction"],
        "training_seed": cell["training_seed"],
        "phase": failure["phase"],
        "cause": f"{failure['type']}: {failure['message'].splitlines()[0]}",
    }


def _with_axis(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns with one that says what ratios are of, where some are of bytes."""
    if all(row["of"] == "images" for row in rows):
        return list(columns)
    place = next(i for i, column in enumerate(columns) if column.key == "percent") + 1
    return [*columns[:place], Column("of", "of", left=True), *columns[place:]]


def _estimate(group: Sequence[Row], key: str) -> Estimate | None:
    runs = {(row["selection_seed"], row["training_seed"]): row[key] for row in group}
    return interval_over_seeds(runs) if runs else None


def _to_control(group: Sequence[Row], control: Sequence[Row]) -> Estimate | None:
    """Return the difference to the control, paired by selection and training seed.

    A method without a selection seed of its own is compared with each of the control's.
    """
    theirs = {(row["selection_seed"], row["training_seed"]): row["accuracy"] for row in control}
    if group and not group[0]["seeded"]:
        ours_by_training = {row["training_seed"]: row["accuracy"] for row in group}
        ours = {key: ours_by_training[key[1]] for key in theirs if key[1] in ours_by_training}
    else:
        ours = {(row["selection_seed"], row["training_seed"]): row["accuracy"] for row in group}
    return paired_difference(ours, theirs)


def _groups(rows: Sequence[Row]) -> dict[_Key, list[Row]]:
    groups: dict[_Key, list[Row]] = defaultdict(list)
    for row in rows:
        key = _Key(*(row[axis] for axis in _AXES))
        groups[key].append(row)
    return dict(groups)


def _names(keys: Iterable[_Key]) -> dict[_Key, str]:
    """Return what each row is called: its spec, marked where that names two identities."""
    keys = list(keys)
    identities_of: dict[str, set[str]] = defaultdict(set)
    for key in keys:
        identities_of[key.spec].add(key.method_id)
    return {
        key: key.spec
        + (f" #{key.method_id[:4]}" if len(identities_of[key.spec]) > 1 else "")
        + (RECONSTRUCTION if key.reconstruction else "")
        for key in keys
    }


def _order(key: _Key) -> tuple[str, float, int, str, str]:
    first = -key.ratio if key.spec == "full" else key.ratio
    return key.of, first, _ABSOLUTE_ORDER.get(key.spec, 2), key.spec, key.method_id


def _accuracy_notes(here: Collection, setting: Setting) -> list[str]:
    notes = [
        "Accuracy: top-1 on the test split in %, last epoch; mean ± half of its 95 % interval "
        "over n runs; one run has no interval.",
        "Vs random: paired over common seeds, same budget and training.",
        "Best epoch: chosen on the test split, optimistic; for comparison only.",
        f"Data: {setting.dataset} ({setting.fingerprint}).",
        _seeds(here),
    ]
    if any(row["reconstruction"] for row in here.rows):
        notes.append("A reconstruction: neither code nor enough equations were published.")
    if any("#" in name for name in _names(_groups(here.rows)).values()):
        notes.append("Methods marked # have the same name and other defaults or versions.")
    if len({row["source_digest"] for row in here.rows}) > 1:
        notes.append("The cells come from different versions of the code (see their records).")
    if here.failures:
        notes.append(f"Failed cells: {len(here.failures)}; their causes stand below.")
    return notes


def _seeds(here: Collection) -> str:
    """Return which runs the rows are made of."""
    layouts = {
        tuple(sorted((row["selection_seed"], row["training_seed"]) for row in group))
        for group in _groups([row for row in here.rows if row["seeded"]]).values()
    }
    if len(layouts) > 1:
        return "Seeds differ between rows (other sweeps in this folder); the records tell which."
    pairs = " ".join(
        f"{selection}/{training}" for layout in layouts for selection, training in layout
    )
    return f"Seeds of selection/training: {pairs or 'training only'}."


def _setting(row: Row) -> Setting:
    return Setting(
        row["dataset"], row["fingerprint"], row["model"], row["protocol"], row["setting_id"]
    )


_STAGES = ("selection_s", "training_s", "testing_s")
_ACCURACY_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("images", "images", number),
    Column("accuracy", "accuracy %", percent),
    Column("n", "n", number),
    Column("to_random", "vs random", difference),
    Column("best_epoch_accuracy", "best epoch", percent),
)
_FAILED_COLUMN = Column("failed", "failed", number)
_COST_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("bytes", "bytes", size),
    Column("steps", "steps", number),
    Column("selection_s", "selection", duration),
    Column("training_s", "training", duration),
    Column("testing_s", "testing", duration),
    Column("total_s", "total", duration),
)
_FAILURE_COLUMNS = (
    Column("id", "cell", left=True),
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("training_seed", "seed", number),
    Column("phase", "phase", left=True),
    Column("cause", "cause", left=True),
)
