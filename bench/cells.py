"""Cells and plans: what is to be computed, named and enumerated; no files, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.budgets import Budget
from bench.contract import METHODS, Method
from bench.datasets import DATASETS, Dataset
from bench.errors import UsageError
from bench.identity import IDENTITY_VERSION, identifier
from bench.models import MODELS, Model
from bench.protocols import PROTOCOLS, Protocol
from bench.storage import read_json, write_json

BASELINES = ("full", "random")
EVERYTHING = Budget.parse("100")


@dataclass(frozen=True)
class Cell:
    """One training run on one compressed set: the unit of work, cache and report.

    Where and how it runs (device, workers, paths) is no part of it.
    """

    dataset: Dataset
    fingerprint: str
    """What tells the data set's content from another's."""
    method: Method
    budget: Budget
    selection_seed: int
    model: Model
    protocol: Protocol
    training_seed: int

    def identity(self) -> dict[str, Any]:
        """Return all fields with their defaults filled in, as JSON values."""
        return {
            "identity_version": IDENTITY_VERSION,
            "dataset": {**self.dataset.identity(), "fingerprint": self.fingerprint},
            "method": self.method.identity(),
            "budget": self.budget.identity(),
            "selection_seed": self.selection_seed,
            "model": self.model.identity(),
            "protocol": self.protocol.identity(),
            "training_seed": self.training_seed,
        }

    @cached_property
    def id(self) -> str:
        """The cell's id, the same from a plan and from a record."""
        return cell_id(self.identity())

    def specs(self) -> dict[str, str]:
        """Return the short names of the components, for people and reports."""
        return {
            "dataset": self.dataset.spec,
            "method": self.method.spec,
            "model": self.model.spec,
            "protocol": self.protocol.spec,
        }

    @property
    def label(self) -> str:
        """A short name for people; two seeds are those of selection and of training."""
        seeds = {self.training_seed: None}
        if self.method.info.seeded:
            seeds = {self.selection_seed: None, self.training_seed: None}
        told = "/".join(str(seed) for seed in seeds)
        return f"{self.method.spec} {self.budget.words} {self.model.spec} seed {told}"

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Cell:
        """Return the cell of an identity; refuse one that this version cannot compute."""
        if identity["identity_version"] != IDENTITY_VERSION:
            raise UsageError(
                f"the plan has identity version {identity['identity_version']}, this bench has "
                f"{IDENTITY_VERSION}. Plan again"
            )
        dataset = dict(identity["dataset"])
        return cls(
            fingerprint=dataset.pop("fingerprint"),
            dataset=DATASETS.from_identity(dataset),
            method=METHODS.from_identity(identity["method"]),
            budget=Budget.from_identity(identity["budget"]),
            selection_seed=identity["selection_seed"],
            model=MODELS.from_identity(identity["model"]),
            protocol=PROTOCOLS.from_identity(identity["protocol"]),
            training_seed=identity["training_seed"],
        )


def cell_id(identity: dict[str, Any]) -> str:
    """Return the id of a cell's identity, taken from a plan or from a record."""
    return identifier("cell", identity)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a user asks for: the axes whose combinations are the cells.

    Parameters
    ----------
    seeds : int
        Training seeds 0 ... seeds - 1, common to all methods.
    selection_seeds : int or None
        Each of these selections is combined with each training seed. With None, selection and
        training seed go together: seed k selects with k and trains with k.
    """

    dataset: Dataset
    fingerprint: str
    methods: Sequence[Method]
    budgets: Sequence[Budget]
    models: Sequence[Model]
    protocols: Sequence[Protocol]
    seeds: int = 3
    selection_seeds: int | None = None

    def cells(self) -> Iterator[Cell]:
        """Yield the cells, seed by seed, so that a full table with few seeds comes first."""
        for selection_seed, training_seed in self._seed_pairs():
            for protocol in self.protocols:
                for model in self.models:
                    for method in self.methods:
                        for budget in self.budgets if method.info.budgeted else [EVERYTHING]:
                            yield Cell(
                                dataset=self.dataset,
                                fingerprint=self.fingerprint,
                                method=method,
                                budget=budget,
                                selection_seed=selection_seed if method.info.seeded else 0,
                                model=model,
                                protocol=protocol,
                                training_seed=training_seed,
                            )

    def _seed_pairs(self) -> list[tuple[int, int]]:
        if self.selection_seeds is None:
            return [(seed, seed) for seed in range(self.seeds)]
        return [
            (selection, training)
            for training in range(self.seeds)
            for selection in range(self.selection_seeds)
        ]


@dataclass(frozen=True)
class Plan:
    """A frozen list of cells, each once; a file that any worker can read."""

    cells: tuple[Cell, ...] = field(default=())

    @classmethod
    def of(cls, sweep: Sweep) -> Plan:
        """Return the plan of a sweep."""
        return cls(tuple({cell.id: cell for cell in sweep.cells()}.values()))

    @cached_property
    def id(self) -> str:
        """The plan's id: that of its cells."""
        return identifier("plan", [cell.id for cell in self.cells])

    def save(self, path: Path) -> None:
        """Write the plan's file."""
        write_json(path, {"schema": 1, "id": self.id, "cells": [c.identity() for c in self.cells]})

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan's file; raise a BenchError when it is none that this version can run."""
        try:
            content = read_json(path)
        except OSError as error:
            raise UsageError(f"cannot read plan {path}: {error.strerror}") from None
        if "cells" not in content:
            raise UsageError(f"{path} is no plan. Name one of RESULTS/plans/plan-*.json")
        return cls(tuple(Cell.from_identity(identity) for identity in content["cells"]))


def with_baselines(methods: Sequence[Method]) -> list[Method]:
    """Return the methods with the baselines that are not among them in front."""
    named = {method.name for method in methods}
    baselines = [METHODS.make_one(name) for name in BASELINES if name not in named]
    return [*baselines, *methods]
