"""Records put together as the papers' tables and the figures need them: series of equal runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from bench.contract import RECONSTRUCTION
from bench.specs import expand
from reports.collection import Collection, Setting, setting_of, setting_order
from reports.reading import Row
from reports.statistics import Estimate, Runs, interval_over_seeds, matched

Record = Mapping[str, Any]
Value = Callable[[Record], float]

METHOD_ORDER = ("full", "random", "dm", "graphcut", "dq", "adq")
_ABLATED = ("alpha", "scores")
_NETWORK = (
    "extractor", "extractor_epochs", "iterations", "mae", "mae_epochs", "learner", "learners",
    "learner_epochs",
)  # fmt: skip


@dataclass(frozen=True)
class Series:
    """The runs of one method at one ratio in one setting."""

    setting: Setting
    spec: str
    method_id: str
    percent: float
    of: str
    """``images`` or ``bytes``."""
    seeded: bool
    """Whether the method draws, so that its runs have selection seeds of their own."""
    records: tuple[Record, ...]

    @cached_property
    def name(self) -> str:
        """The method's name without its parameters."""
        return next(expand(self.spec)).name

    @cached_property
    def given(self) -> dict[str, str]:
        """The parameters that the spec gives, as texts."""
        return dict(next(expand(self.spec)).parameters)

    @property
    def is_budgeted(self) -> bool:
        """Whether a ratio changes what the method keeps, so that rows of a ratio may hold it."""
        return bool(self.records[0]["method"].get("budgeted", self.name != "full"))

    @property
    def kept_percent(self) -> float:
        """The share that was asked for, or what was kept where no budget changes it."""
        if self.is_budgeted:
            return self.percent
        kept = [record["compressed"] for record in self.records]
        return round(100 * fmean(one["images"] / one["full_images"] for one in kept), 1)

    @property
    def ids(self) -> list[str]:
        """The cells behind it."""
        return [record["id"] for record in self.records]

    @property
    def method(self) -> tuple[str, str]:
        """What tells the method from others."""
        return self.spec, self.method_id

    @property
    def is_reconstruction(self) -> bool:
        """Whether neither code nor enough equations of the method were published."""
        return bool(self.records[0]["method"].get("reconstruction", False))

    @property
    def is_ablation(self) -> bool:
        """Whether the spec changes what a paper's ablation changes."""
        return any(key in self.given for key in _ABLATED)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts full and random first, then as the papers' tables do, then by ratio."""
        place = METHOD_ORDER.index(self.name) if self.name in METHOD_ORDER else len(METHOD_ORDER)
        return place, self.name, self.spec, self.method_id, self.of, self.percent

    def values(self, value: Value) -> dict[tuple[int, int], float]:
        """Return a value of every run, by selection and training seed."""
        return {
            (record["cell"]["selection_seed"], record["cell"]["training_seed"]): value(record)
            for record in self.records
        }

    def estimate(self, value: Value) -> Estimate:
        """Return the mean of a value over the runs, with its interval."""
        return interval_over_seeds(self.values(value))

    def mean(self, value: Value) -> float:
        """Return the mean of a value over the runs."""
        return self.estimate(value).mean


def accuracy(record: Record) -> float:
    """Return a run's test accuracy in percent, of the last epoch."""
    return float(record["metrics"]["accuracy"])


def selection_s(record: Record) -> float:
    """Return the seconds of everything behind a run's selection, made or found."""
    return float(record["cost"]["selection_s"])


def evaluation_s(record: Record) -> float:
    """Return the seconds of a run's training and testing."""
    return float(record["cost"]["training_s"] + record["cost"]["testing_s"])


def series_of(records: Iterable[Record], rows: Iterable[Row] | None = None) -> list[Series]:
    """Return the series that records make, by setting as reports list them, then by their order.

    Parameters
    ----------
    rows : iterable of mapping, optional
        Those of the same records' :class:`Collection`, where it is made.
    """
    kept = list(records)
    found: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    rows = list(rows) if rows is not None else Collection.of(kept).rows
    for record, row in zip(kept, rows, strict=True):
        key = (
            setting_of(row), row["method"], row["method_id"], row["percent"], row["of"],
            bool(row["seeded"]),
        )  # fmt: skip
        found[key].append(record)
    made = [
        Series(setting, spec, method_id, percent, of, seeded, tuple(members))
        for (setting, spec, method_id, percent, of, seeded), members in found.items()
    ]
    place = setting_order(rows)
    return sorted(made, key=lambda one: (place(one.setting), one.order))


def by_setting(series: Iterable[Series]) -> dict[Setting, list[Series]]:
    """Return the series of each setting, in their order."""
    found: dict[Setting, list[Series]] = defaultdict(list)
    for one in series:
        found[one.setting].append(one)
    return dict(found)


def by_method(series: Iterable[Series]) -> dict[tuple[str, str], list[Series]]:
    """Return the series of each method, in their order."""
    found: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        found[one.method].append(one)
    return dict(found)


def labels(series: Iterable[Series]) -> dict[tuple[str, str], str]:
    """Return what each method is called.

    The network that embeds is left out where that leaves one name for one method; methods of the
    same spec and another identity (defaults, version) are marked with the id's beginning, and
    reconstructions as such.
    """
    reconstructed = {one.method: one.is_reconstruction for one in series}
    methods = list(reconstructed)
    short = {method: _short(method[0]) for method in methods}
    names = {
        method: short[method] if list(short.values()).count(short[method]) == 1 else method[0]
        for method in methods
    }
    return {
        method: name
        + f" #{method[1][:4]}" * (list(names.values()).count(name) > 1)
        + RECONSTRUCTION * reconstructed[method]
        for method, name in names.items()
    }


def difference(ours: Series, theirs: Series, value: Value) -> Estimate | None:
    """Return the mean of :func:`differences` with its interval; None without a common pair."""
    found = differences(ours, theirs, value)
    return interval_over_seeds(found) if found else None


def differences(ours: Series, theirs: Series, value: Value) -> Runs:
    """Return the differences of a value, paired by seeds.

    A method without a selection seed of its own is compared with each of the other's selections.
    """
    pairs = matched(
        ours.values(value),
        theirs.values(value),
        ours_seeded=ours.seeded,
        theirs_seeded=theirs.seeded,
    )
    return {key: mine - other for key, (mine, other) in pairs.items()}


def control_at(series: Sequence[Series], one: Series, name: str = "random") -> Series | None:
    """Return the series of a control that keeps the same share: of several the plain one."""
    found = [
        other
        for other in series
        if (other.name, other.kept_percent, other.of) == (name, one.kept_percent, one.of)
    ]
    return min(found, key=lambda other: (len(other.given), other.order), default=None)


def _short(spec: str) -> str:
    parsed = next(expand(spec))
    kept = [f"{key}={value}" for key, value in parsed.parameters if key not in _NETWORK]
    return parsed.name + (f"[{','.join(kept)}]" if kept else "")
