"""Needs: what is still to be made for each pending cell; names artefacts, computes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from bench.context import RunContext
from bench.identity import canonical_json
from bench.planning import NOT_LOADED, closure, declared, forecast, measured
from bench.selecting import compressed_set
from slurm.requests import Need, Taught

if TYPE_CHECKING:
    from bench.budgets import Budget
    from bench.cells import Cell, Plan
    from bench.contract import Artefact, Context, ImageDataset, Method
    from bench.datasets import Source
    from bench.planning import Forecast
    from bench.results import Results


def needs(
    plan: Plan, results: Results, source: Source, taught: Mapping[str, Taught]
) -> tuple[Forecast, list[Need]]:
    """Return a plan's forecast and what each of its pending cells needs.

    Parameters
    ----------
    taught : mapping
        What earlier attempts at a cell taught, by cell id.
    """
    expected = forecast(plan, results, source)
    missing = _Missing(results, expected)
    found = [
        Need(
            known.cell.id,
            known.seconds,
            missing.of(known.cell),
            taught.get(known.cell.id, Taught()),
            known.cell.selection_seed,
        )
        for known in expected.pending
    ]
    return expected, found


def artefacts_of(cells: Sequence[Cell], results: Results) -> frozenset[str]:
    """Return the ids of all artefacts behind the compressed sets of cells, stored or not."""
    naming = _Names(results)
    return frozenset(name for cell in cells for name in naming.of(cell))


class _Names:
    """Names the artefacts of cells; what cells share is asked once."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._known: dict[tuple[str, int, Budget], dict[str, Artefact]] = {}
        self._declared: dict[tuple[str, int], _Declared] = {}

    def of(self, cell: Cell) -> dict[str, Artefact]:
        """Return the artefacts behind a cell's compressed set, itself included, by id."""
        key = (cell.method.spec, cell.selection_seed, cell.budget)
        if key not in self._known:
            self._known[key] = closure([self._asked(cell).compressed_set(cell.budget)])
        return self._known[key]

    def _asked(self, cell: Cell) -> _Declared:
        key = (cell.method.spec, cell.selection_seed)
        if key not in self._declared:
            self._declared[key] = _Declared(cell, self._results)
        return self._declared[key]


class _Missing:
    """Tells which artefacts of cells are not stored, and how long they will take."""

    def __init__(self, results: Results, expected: Forecast) -> None:
        self._results = results
        self._names = _Names(results)
        self._seconds = {known.id: known.seconds for known in expected.artefacts}
        _, self._times = measured(results)
        self._is_there: dict[str, bool] = {}

    def of(self, cell: Cell) -> dict[str, float | None]:
        """Return the expected seconds of what is missing behind a cell's compressed set."""
        return {
            artefact.id: self._expected(artefact, cell)
            for artefact in self._names.of(cell).values()
            if not self._has(artefact.id)
        }

    def _has(self, artefact: str) -> bool:
        if artefact not in self._is_there:
            self._is_there[artefact] = self._results.artefacts.has(artefact)
        return self._is_there[artefact]

    def _expected(self, artefact: Artefact, cell: Cell) -> float | None:
        key = (cell.dataset.spec, cell.method.spec, artefact.kind)
        return self._seconds.get(artefact.id) or self._times.get(key)


def selection_key(cell: Cell) -> str:
    """Return what is the same for cells that train on one compressed set."""
    return canonical_json([cell.method.identity(), cell.budget.identity(), cell.selection_seed])


def selections(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Return the cells by the compressed set that they train on."""
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        found[selection_key(cell)].append(cell)
    return dict(found)


class _Declared:
    """A method whose artefacts have been asked for: they are the same for all budgets."""

    def __init__(self, cell: Cell, results: Results) -> None:
        self._method = cell.method
        self.context = RunContext(
            dataset=cell.identity()["dataset"],
            selection_seed=cell.selection_seed,
            device="",
            store=results.artefacts,
            leases=results.leases,
            checkpoint=results.checkpoint,
        )
        self._identity = cell.method.identity()
        self._artefacts = declared(cell.method, self.context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def identity(self) -> dict[str, Any]:
        return self._identity

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        return self._artefacts

    def compressed_set(self, budget: Budget) -> Artefact:
        """Return the artefact that holds what is kept for a budget."""
        return compressed_set(cast("Method", self), NOT_LOADED, budget, self.context)
