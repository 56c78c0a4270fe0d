"""Rows by setting and by what is averaged: the groups that the tables' lines stand for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any, NamedTuple

from bench.identity import digest
from bench.memory import uncollected
from reports.copies import dataset_label
from reports.naming import marked_specs, names, tell_data_apart
from reports.reading import Row, cell_row, failure_row
from reports.statistics import Effect, Estimate, Runs, interval_over_seeds, paired_effect
from reports.tables import Column, ascii_name
from reports.versions import tell_older

CONTROL = "random"
_ABSOLUTE_ORDER = {"full": 0, CONTROL: 1}


class Setting(NamedTuple):
    """What all rows of one table share.

    ``id`` tells apart settings of the same names and another identity (data, defaults, version).
    """

    dataset: str
    fingerprint: str
    model: str
    protocol: str
    id: str
    older: str = ""
    """Which versions it has of what there are newer ones of, in words."""
    data_name: str = ""
    """What the results folder calls the data set, or what tells it from another of its label."""

    @property
    def title(self) -> str:
        """The setting in words."""
        return f"{self.data}, {self.model}, protocol {self.training}"

    @property
    def training(self) -> str:
        """The protocol, with the versions of what there are newer ones of: another one for all."""
        return f"{self.protocol}{self.older}"

    @property
    def data(self) -> str:
        """What the data set is called: by the folder, as what it is known to be, by its spec."""
        return self.data_name or dataset_label(self.dataset, self.fingerprint)


class Key(NamedTuple):
    """What the runs of one row of a table have in common."""

    spec: str
    method_id: str
    ratio: float
    of: str
    """``images`` or ``bytes``."""
    reconstruction: bool

    @property
    def ratio_label(self) -> str:
        """The ratio as users type it, e.g. ``12.5`` or ``10b``."""
        return f"{self.ratio:g}{'b' * (self.of == 'bytes')}"


Groups = dict[Key, list[Row]]


@dataclass(frozen=True)
class Collection:
    """The records and failures that tables are made of, as rows.

    ``protocols`` holds the parameters of every protocol that occurs, by spec.
    """

    rows: Sequence[Row]
    failures: Sequence[Row] = ()
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, records: Iterable[Mapping[str, Any]], failures: Iterable[Mapping[str, Any]] = ()
    ) -> Collection:
        """Return the collection of records and failures as they are stored; each is read once."""
        rows, protocols = [], {}
        with uncollected():
            for record in records:
                rows.append(cell_row(record))
                protocols[record["specs"]["protocol"]] = record["cell"]["protocol"]["parameters"]
        failed = [failure_row(failure) for failure in failures]
        tell_older([*rows, *failed])
        tell_data_apart([*rows, *failed])
        return cls(rows, failed, protocols)

    def settings(self) -> list[Setting]:
        """Return the settings that occur, in the order of :func:`setting_order`."""
        return list(self._by_setting)

    def at(self, setting: Setting) -> Collection:
        """Return what belongs to one setting."""
        return self._by_setting.get(setting, Collection([]))

    def ids(self, key: Key | None) -> list[str]:
        """Return the cells behind a row."""
        return self._ids.get(key, []) if key is not None else []

    def runs(self, key: Key, column: str = "accuracy") -> Runs:
        """Return a column's values of a row's runs, by selection and training seed."""
        place = key, column
        if place not in self._runs:
            self._runs[place] = runs(self.groups.get(key, ()), column)
        return self._runs[place]

    def estimate(self, key: Key, column: str = "accuracy") -> Estimate | None:
        """Return the mean of a row's values and its interval, or None without a value."""
        values = self.runs(key, column)
        return interval_over_seeds(values) if values else None

    def compared(self, ours: Key, theirs: Key | None) -> Effect | None:
        """Return the accuracy of ours minus theirs, paired by selection and training seed, or None.

        A method without a selection seed of its own is compared with each of the other's.
        """
        if theirs is None or ours not in self.groups or theirs not in self.groups:
            return None
        pair = ours, theirs
        if pair not in self._effects:
            self._effects[pair] = paired_effect(
                self.runs(ours),
                self.runs(theirs),
                ours_seeded=self.groups[ours][0]["seeded"],
                theirs_seeded=self.groups[theirs][0]["seeded"],
            )
        return self._effects[pair]

    def slug(self, setting: Setting) -> str:
        """Return a setting's short ASCII name, different from all others'."""
        return self._slugs[setting]

    @cached_property
    def digest(self) -> str:
        """What tells these rows from others; a method's id stands for its parameters."""
        return digest(
            [[_values(row) for row in self.rows], list(self.failures), dict(self.protocols)]
        )

    @cached_property
    def groups(self) -> Groups:
        """The rows by what is averaged."""
        return grouped(self.rows)

    def kept_percent(self, key: Key) -> float:
        """Return the share that was asked for, or what was kept where no budget changes it."""
        rows = self.groups.get(key)
        if not rows or rows[0]["budgeted"]:
            return key.ratio
        return round(100 * fmean(row["images"] / row["full_images"] for row in rows), 1)

    @cached_property
    def failed(self) -> Groups:
        """The failures by what would be averaged."""
        return grouped(self.failures)

    @cached_property
    def keys(self) -> list[Key]:
        """All that has a row or failed, in the tables' order."""
        found = {*self.groups, *self.failed}
        return sorted(found, key=lambda key: order(key, self.kept_percent(key)))

    @cached_property
    def names(self) -> dict[Key, str]:
        """What each row is called."""
        return names({key: self.parameters(key) for key in self.keys})

    def parameters(self, key: Key) -> Mapping[str, Any]:
        """Return the parameters of a row's method, defaults filled in."""
        return dict([*self.groups.get(key, ()), *self.failed.get(key, ())][0]["parameters"])

    def spending_bytes(self, keys: Iterable[Key]) -> list[str]:
        """Return the names of those rows of a share of images whose method spends bytes instead."""
        return [
            self.names[key]
            for key in keys
            if key.of == "images" and key in self.groups and self.groups[key][0]["spends_bytes"]
        ]

    @cached_property
    def _ids(self) -> dict[Key, list[str]]:
        return {key: [row["id"] for row in group] for key, group in self.groups.items()}

    @cached_property
    def _runs(self) -> dict[tuple[Key, str], Runs]:
        return {}

    @cached_property
    def _effects(self) -> dict[tuple[Key, Key], Effect | None]:
        return {}

    @cached_property
    def _by_setting(self) -> dict[Setting, Collection]:
        rows: dict[Setting, list[Row]] = defaultdict(list)
        failures: dict[Setting, list[Row]] = defaultdict(list)
        for row in self.rows:
            rows[setting_of(row)].append(row)
        for row in self.failures:
            failures[setting_of(row)].append(row)
        found = sorted({*rows, *failures}, key=setting_order(self.rows))
        return {s: Collection(rows[s], failures[s], self.protocols) for s in found}

    @cached_property
    def _slugs(self) -> dict[Setting, str]:
        plain = {
            setting: ascii_name(f"{setting.data} {setting.model} {setting.training}")
            for setting in self._by_setting
        }
        times = Counter(plain.values())
        return {
            setting: name if times[name] == 1 else f"{name}-{setting.id}"
            for setting, name in plain.items()
        }


def _values(row: Row) -> list[Any]:
    return list({**row, "parameters": None}.values())


def grouped(rows: Iterable[Row]) -> Groups:
    """Return rows by what is averaged."""
    groups: Groups = defaultdict(list)
    for row in rows:
        key = Key(row["method"], row["method_id"], row["percent"], row["of"], row["reconstruction"])
        groups[key].append(row)
    return dict(groups)


def order(key: Key, kept_percent: float) -> tuple[str, float, int, str, str]:
    """Return where a row stands: full data, then by the share that is kept, random first."""
    first = -kept_percent if key.spec == "full" else kept_percent
    return key.of, first, _ABSOLUTE_ORDER.get(key.spec, 2), key.spec, key.method_id


def runs(group: Iterable[Row], column: str) -> dict[tuple[int, int], float]:
    """Return a column's values by selection and training seed, of the rows that have one."""
    return {
        (row["selection_seed"], row["training_seed"]): row[column]
        for row in group
        if row[column] is not None
    }


def links_of(
    here: Collection, keys: Sequence[Key], columns: Sequence[str]
) -> dict[tuple[int, str], Sequence[str]]:
    """Return the cells behind these columns of rows that stand for these keys."""
    ids = [here.ids(key) for key in keys]
    return {(place, column): ids[place] for place in range(len(keys)) for column in columns}


def macro_keys(results: Collection, setting: Setting, keys: Sequence[Key]) -> list[tuple[str, ...]]:
    """Return the words that name each row in LaTeX macros: setting, method, ratio."""
    specs = marked_specs(results.at(setting).keys)
    return [(results.slug(setting), specs[key], key.ratio_label) for key in keys]


def with_axis(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Return the columns with one that says what ratios are of, where some are of bytes."""
    if all(row["of"] == "images" for row in rows):
        return list(columns)
    place = next(i for i, column in enumerate(columns) if column.key == "percent") + 1
    return [*columns[:place], Column("of", "of", left=True), *columns[place:]]


def setting_order(rows: Iterable[Row]) -> Callable[[Setting], tuple[int, str, str]]:
    """Return what settings are sorted by: most complete cells first, so that the main one leads."""
    cells = Counter(map(setting_of, rows))
    return lambda setting: (-cells[setting], setting.title, setting.id)


def setting_of(row: Row) -> Setting:
    """Return the setting that a row belongs to."""
    return Setting(
        row["dataset"], row["fingerprint"], row["model"], row["protocol"], row["setting_id"],
        row["older"], row["data_name"],
    )  # fmt: skip
