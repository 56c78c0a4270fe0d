"""Forecasts: what a plan would compute, what is there already, and what the rest costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bench.asking import refuse_unready, telling
from bench.context import RunContext
from bench.contract import ImageDataset
from bench.errors import BenchError
from bench.execution import (
    check_budgets,
    check_data,
    expected_load,
    images_seen,
    pending_cells,
)
from bench.selecting import compressed_set
from bench.weights import require as require_weights

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.cells import Cell, Plan
    from bench.contract import Artefact, Context, Method
    from bench.datasets import Source
    from bench.results import Results
    from bench.weights import Weights

K = TypeVar("K")
NOT_LOADED = ImageDataset(
    np.empty((0, 1, 1, 1), np.uint8), np.empty(0, np.int64), classes=(), keys=()
)


@dataclass(frozen=True)
class CellForecast:
    """What is known of a cell before it runs.

    ``seconds`` is the expected time of training and testing, from records of the same data set,
    model and protocol in the results folder; None where there are none. ``share`` is what of
    the training split the cell is expected to keep, in images or, for a budget of bytes, in bytes.
    """

    cell: Cell
    is_done: bool
    images_seen: int
    steps: int
    seconds: float | None
    share: float


@dataclass(frozen=True)
class ArtefactForecast:
    """An artefact that the pending cells need."""

    id: str
    kind: str
    is_there: bool
    cells: int
    seconds: float | None
    """What one of its kind took for the same method and data set; 0 when it is there."""


@dataclass(frozen=True)
class Forecast:
    """What a plan would compute."""

    plan_id: str
    cells: Sequence[CellForecast]
    artefacts: Sequence[ArtefactForecast] = field(default=())
    looks: Mapping[str, int] = field(default_factory=dict)
    """Images that methods send through networks to make the sets that are missing, by method."""
    missing_weights: Sequence[str] = field(default=())
    """Pretrained weights that are not on this machine; a run fetches them first, or refuses."""
    missing_data: str = ""
    """Why a run would be refused here by the data set; empty where nothing is seen missing."""

    @property
    def pending(self) -> list[CellForecast]:
        """The cells that are still to be computed."""
        return [cell for cell in self.cells if not cell.is_done]

    @property
    def seconds(self) -> float | None:
        """Expected seconds of training and testing, or None when one cell's are unknown."""
        return _total([cell.seconds for cell in self.pending])

    @property
    def artefact_seconds(self) -> float | None:
        """Expected seconds of making artefacts, or None when one's are unknown."""
        return _total([artefact.seconds for artefact in self.artefacts])

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as JSON values."""
        return {
            "plan": self.plan_id,
            "cells": [
                {
                    "id": f.cell.id,
                    **f.cell.specs(),
                    "percent": float(f.cell.budget.percent),
                    "selection_seed": f.cell.selection_seed,
                    "training_seed": f.cell.training_seed,
                    "done": f.is_done,
                    "images_seen": f.images_seen,
                    "steps": f.steps,
                    "expected_s": f.seconds,
                }
                for f in self.cells
            ],
            "artefacts": [vars(artefact) for artefact in self.artefacts],
            "expected_s": self.seconds,
            "expected_artefacts_s": self.artefact_seconds,
            "looks": dict(self.looks),
            "missing_weights": list(self.missing_weights),
            "missing_data": self.missing_data,
        }


def forecast(plan: Plan, results: Results, source: Source) -> Forecast:
    """Return what a plan would compute; loads no images and no torch.

    Raises
    ------
    UsageError
        When a budget would leave a class empty, a method cannot be run on the data set, or that
        is not there.
    """
    pending = pending_cells(plan, results)
    check_budgets(pending, source)
    check_methods(pending, results, source)
    waiting = {cell.id for cell in pending}
    counts = np.array([*plan.cells[0].dataset.training_counts(source).values()], dtype=np.int64)
    available = int(counts.sum())
    rates, kinds = measured(results)
    alike: dict[tuple[Any, ...], CellForecast] = {}  # but for their seeds
    cells = []
    for cell in plan.cells:
        key = cell.dataset, cell.method, cell.budget, cell.model, cell.protocol
        if key not in alike:
            alike[key] = _forecast_of(cell, available, rates)
        cells.append(replace(alike[key], cell=cell, is_done=cell.id not in waiting))
    missing = [one.name for one in needed_weights(pending, results) if one.find() is None]
    artefacts, looks = _artefacts(pending, results, kinds), _looks(pending, counts, results)
    absent = plan.cells[0].dataset.missing(source) if pending else ""
    return Forecast(plan.id, cells, artefacts, looks, missing, absent)


def _forecast_of(
    cell: Cell, available: int, rates: Mapping[tuple[str, ...], float]
) -> CellForecast:
    seen, load = images_seen(cell, available), expected_load(cell, available)
    rate = rates.get(_rate_key(cell.specs()))
    return CellForecast(
        cell=cell,
        is_done=False,
        images_seen=seen,
        steps=cell.protocol.steps(load),
        seconds=seen / rate if rate else None,
        share=load.share,
    )


def _looks(pending: Sequence[Cell], class_counts: IntArray, results: Results) -> dict[str, int]:
    """Return what methods look at while they make missing sets; only those that do."""
    sets = {(c.method.spec, c.budget.label, c.selection_seed): c for c in pending}
    found: dict[str, int] = defaultdict(int)
    for (method, _, _), cell in sets.items():
        with telling(cell.method, "looks()"):
            looks = cell.method.looks(class_counts, cell.budget)
        if looks and not _has_set(cell, results):
            found[method] += looks
    return dict(found)


def _has_set(cell: Cell, results: Results) -> bool:
    made = compressed_set(cell.method, NOT_LOADED, cell.budget, _context(cell, results))
    return results.artefacts.has(made.id)


def require(
    pending: Sequence[Cell], results: Results, source: Source, tell: Callable[[str], None]
) -> None:
    """Refuse cells that cannot be computed here, before any work; fetch missing weights.

    Parameters
    ----------
    tell : callable
        Is told what is fetched.

    Raises
    ------
    UsageError
        When the data set is another one, a budget would leave a class empty, a method cannot be
        run on the data set, or weights are missing and cannot be fetched.
    """
    check_data(pending, source)
    check_budgets(list(pending), source)
    check_methods(pending, results, source)
    require_weights(needed_weights(pending, results), tell)


def check_methods(pending: Sequence[Cell], results: Results, source: Source) -> None:
    """Raise the error of a method that refuses the data set, unless its sets are all made."""
    by_method: dict[Method, list[Cell]] = defaultdict(list)
    for cell in pending:
        by_method[cell.method].append(cell)

    classes = len(pending[0].dataset.training_counts(source)) if pending else 0

    @cache
    def keys() -> tuple[str, ...]:
        return pending[0].dataset.training_keys(source)

    for method, cells in by_method.items():
        try:
            refuse_unready(method, keys, classes)
        except BenchError:
            if not all(_has_set(cell, results) for cell in cells):
                raise


def needed_weights(cells: Iterable[Cell], results: Results) -> list[Weights]:
    """Return the pretrained weights that cells need, each once.

    A method whose declared artefacts are all made needs none any more.
    """
    needed: dict[Weights, None] = {}
    unlike = {(c.method.spec, c.selection_seed, c.model.spec): c for c in cells}
    known: dict[str, tuple[Weights, ...]] = {}
    for (method, _, model), cell in unlike.items():
        if model not in known:
            known[model] = cell.model.weights()
        if method not in known:
            known[method] = cell.method.weights()
        needed |= dict.fromkeys(known[model])
        if known[method] and not _is_made(cell, results):
            needed |= dict.fromkeys(known[method])
    return list(needed)


def _is_made(cell: Cell, results: Results) -> bool:
    needed = declared(cell.method, _context(cell, results))
    return bool(needed) and all(results.artefacts.has(one.id) for one in needed)


def declared(method: Method, context: Context) -> tuple[Artefact, ...]:
    """Return what a method declares to read, asked before any image is loaded.

    Raises
    ------
    UsageError
        When the method fails, whatever it raises.
    """
    with telling(method, "artefacts()"):
        return tuple(method.artefacts(NOT_LOADED, context))


def _context(cell: Cell, results: Results) -> RunContext:
    return RunContext(
        dataset=cell.identity()["dataset"],
        selection_seed=cell.selection_seed,
        device="",
        store=results.artefacts,
        leases=results.leases,
        checkpoint=results.checkpoint,
    )


def _artefacts(
    cells: Sequence[Cell], results: Results, kinds: dict[tuple[str, ...], float]
) -> list[ArtefactForecast]:
    found: dict[str, Artefact] = {}
    users: dict[str, list[list[Cell]]] = defaultdict(list)
    alike: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        alike[cell.method.spec, cell.selection_seed].append(cell)
    for members in alike.values():
        cell = members[0]
        needed = closure(declared(cell.method, _context(cell, results)))
        for artefact in needed.values():
            found[artefact.id] = artefact
            users[artefact.id].append(members)
    forecasts = []
    for key, artefact in found.items():
        is_there = results.artefacts.has(key)
        keys = (_kind_key(members[0].specs(), artefact.kind) for members in users[key])
        known = (kinds[one] for one in keys if one in kinds)
        seconds = 0.0 if is_there else next(known, None)
        count = sum(map(len, users[key]))
        forecasts.append(ArtefactForecast(key, artefact.kind, is_there, count, seconds))
    return forecasts


def closure(artefacts: Iterable[Artefact]) -> dict[str, Artefact]:
    """Return the artefacts with all that they are made from, inputs first."""
    found: dict[str, Artefact] = {}
    for artefact in artefacts:
        found |= closure(artefact.inputs)
        found[artefact.id] = artefact
    return found


def measured(
    results: Results,
) -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
    """Return what the records here tell of speed.

    Images a second of training and testing, by data set, model and protocol; and seconds of an
    artefact, by data set, method and kind.
    """
    rates: dict[tuple[str, ...], list[float]] = defaultdict(list)
    kinds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in results.records(details=False):
        cost = record["cost"]
        seconds = cost["training_s"] + cost["testing_s"]
        if seconds > 0:
            rates[_rate_key(record["specs"])].append(cost["images_seen"] / seconds)
        for artefact in cost["artefacts"].values():
            kinds[_kind_key(record["specs"], artefact["kind"])].append(artefact["seconds"])
    return _medians(rates), _medians(kinds)


def _medians(measured: dict[K, list[float]]) -> dict[K, float]:
    return {key: median(values) for key, values in measured.items()}


def _total(seconds: Iterable[float | None]) -> float | None:
    times = list(seconds)
    return None if None in times else float(sum(time for time in times if time is not None))


def _kind_key(specs: dict[str, str], kind: str) -> tuple[str, ...]:
    return specs["dataset"], specs["method"], kind


def _rate_key(specs: dict[str, str]) -> tuple[str, ...]:
    return specs["dataset"], specs["model"], specs["protocol"]
