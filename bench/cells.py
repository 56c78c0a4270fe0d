"""Cells and plans: what is to be computed, named and enumerated; no files, no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from bench import planfiles
from bench.budgets import Budget
from bench.components import Component, written
from bench.contract import METHODS, Method
from bench.datasets import DATASETS, Dataset
from bench.errors import DamagedFileError, UsageError
from bench.identity import IDENTITY_VERSION, canonical_json, identifier, identifier_of_text
from bench.models import MODELS, Model
from bench.protocols import PROTOCOLS, Protocol
from bench.registry import Registry
from bench.storage import read_json, write_json

C = TypeVar("C", bound=Component)
BASELINES = ("full", "random")
EVERYTHING = Budget.parse("100")
MOST_CELLS = 1_000_000
"""Of a sweep: ten times what a results folder is made for; a plan of so many takes a minute."""


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
            "dataset": {**_identity(self.dataset), "fingerprint": self.fingerprint},
            "method": _identity(self.method),
            "budget": self.budget.identity(),
            "selection_seed": self.selection_seed,
            "model": _identity(self.model),
            "protocol": _identity(self.protocol),
            "training_seed": self.training_seed,
        }

    @cached_property
    def id(self) -> str:
        """The cell's id, the same from a plan and from a record."""
        return identifier_of_text("cell", self._canonical())

    def _canonical(self) -> str:
        """Return the canonical JSON of the identity, put together from that of shared parts.

        A plan's cells share a few components: 100,000 ids would take a minute otherwise.
        """
        texts = self.texts()
        return (
            f'{{"budget":{texts["budget"]},"dataset":{texts["dataset"]},'
            f'"identity_version":{IDENTITY_VERSION},"method":{texts["method"]},'
            f'"model":{texts["model"]},"protocol":{texts["protocol"]},'
            f'"selection_seed":{self.selection_seed},"training_seed":{self.training_seed}}}'
        )

    def texts(self) -> dict[str, str]:
        """Return the canonical JSON of each part of the identity that cells may share."""
        return {
            "dataset": _dataset_text(self.dataset, self.dataset.version, self.fingerprint),
            "method": _sorted_text(self.method, self.method.version),
            "budget": _budget_text(self.budget),
            "model": _sorted_text(self.model, self.model.version),
            "protocol": _sorted_text(self.protocol, self.protocol.version),
        }

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
        """A short name for people: method, budget, model, seed.

        Two seeds, as in ``seed 0/3``, are those of selection and of training. A method that no
        budget changes has none here: what it keeps is known only afterwards (:meth:`label_of`).
        """
        return self._labelled(self.budget.words if self.method.budgeted else "")

    def label_of(self, kept: Mapping[str, Any]) -> str:
        """Return the label with the share that was kept, where no budget says it.

        Parameters
        ----------
        kept : mapping
            The accounts of the compressed set, as a record has them.
        """
        share = f"{100 * kept['images'] / kept['full_images']:.4g} %"
        return self.label if self.method.budgeted else self._labelled(share)

    def _labelled(self, kept: str) -> str:
        seeds = {self.training_seed: None}
        if self.method.seeded:
            seeds = {self.selection_seed: None, self.training_seed: None}
        told = "/".join(str(seed) for seed in seeds)
        return " ".join(filter(None, (self.method.called, kept, self.model.spec, f"seed {told}")))

    @classmethod
    def from_identity(
        cls, identity: dict[str, Any], made: dict[tuple[str, str], Any] | None = None
    ) -> Cell:
        """Return the cell of an identity; refuse one that this version cannot compute.

        Cells that are given the same ``made`` share the components that they have in common.
        """
        made = {} if made is None else made
        if identity["identity_version"] != IDENTITY_VERSION:
            raise UsageError(
                f"the plan has identity version {identity['identity_version']}, this bench has "
                f"{IDENTITY_VERSION}. Plan again"
            )
        dataset = dict(identity["dataset"])
        return cls(
            fingerprint=dataset.pop("fingerprint"),
            dataset=_component(DATASETS, dataset, made),
            method=_component(METHODS, identity["method"], made),
            budget=Budget.from_identity(identity["budget"]),
            selection_seed=identity["selection_seed"],
            model=_component(MODELS, identity["model"], made),
            protocol=_component(PROTOCOLS, identity["protocol"], made),
            training_seed=identity["training_seed"],
        )


def told_of(identity: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the specs and the method's facts of a cell that this version perhaps cannot make.

    A component that is not known here is named with all of its parameters, and has no facts.
    """
    registries: dict[str, Registry[Any]] = {
        "dataset": DATASETS, "method": METHODS, "model": MODELS, "protocol": PROTOCOLS,
    }  # fmt: skip
    found = {part: registry.nearest(identity[part]) for part, registry in registries.items()}
    specs = {
        part: one.spec if one else written(identity[part]["name"], identity[part]["parameters"])
        for part, one in found.items()
    }
    return specs, found["method"].facts() if found["method"] else {}


def _component(
    registry: Registry[C], identity: dict[str, Any], made: dict[tuple[str, str], Any]
) -> C:
    key = registry.kind, canonical_json(identity)
    if key not in made:
        made[key] = registry.from_identity(identity)
    component: C = made[key]
    return component


def _identity(component: Component) -> dict[str, Any]:
    """Return a component's identity, one that the caller may change."""
    told: dict[str, Any] = json.loads(_text(component, component.version))
    return told


@cache
def _text(component: Component, version: int) -> str:
    """Return a component's identity as JSON; its version belongs to the class, not to equality."""
    return json.dumps(component.identity(), allow_nan=False)


@cache
def _sorted_text(component: Component, version: int) -> str:
    return canonical_json(json.loads(_text(component, version)))


@cache
def _dataset_text(dataset: Dataset, version: int, fingerprint: str) -> str:
    return canonical_json({**_identity(dataset), "fingerprint": fingerprint})


@cache
def _budget_text(budget: Budget) -> str:
    return canonical_json(budget.identity())


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

    Raises
    ------
    UsageError
        For more than :data:`MOST_CELLS`.
    """

    dataset: Dataset
    fingerprint: str
    methods: Sequence[Method]
    budgets: Sequence[Budget]
    models: Sequence[Model]
    protocols: Sequence[Protocol]
    seeds: int = 3
    selection_seeds: int | None = None

    def __post_init__(self) -> None:
        rows = sum(len(self.budgets) if method.budgeted else 1 for method in self.methods)
        runs = self.seeds * (self.selection_seeds or 1)
        count = rows * len(self.models) * len(self.protocols) * runs
        if count > MOST_CELLS:
            raise UsageError(
                f"{count:,} cells are too many: {runs:,} runs of {count // runs:,} combinations of "
                f"method, ratio, model and protocol. At most {MOST_CELLS:,} are allowed: give "
                f"fewer seeds, or divide the sweep"
            )

    def cells(self) -> Iterator[Cell]:
        """Yield the cells, seed by seed, so that a full table with few seeds comes first."""
        asked = [  # once for all cells: a method may have to make its extractor to tell
            (one, one.seeded, self.budgets if one.budgeted else [EVERYTHING])
            for one in self.methods
        ]
        for selection_seed, training_seed in self._seed_pairs():
            for protocol in self.protocols:
                for model in self.models:
                    for method, is_seeded, budgets in asked:
                        for budget in budgets:
                            yield Cell(
                                dataset=self.dataset,
                                fingerprint=self.fingerprint,
                                method=method,
                                budget=budget,
                                selection_seed=selection_seed if is_seeded else 0,
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
        rows = ((c.id, c.texts(), c.selection_seed, c.training_seed) for c in self.cells)
        write_json(path, planfiles.to_json(self.id, rows), indent=None)

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a plan's file; raise a BenchError when it is none that this version can run."""
        try:
            content = read_json(path)
        except OSError as error:
            raise UsageError(f"cannot read plan {path}: {error.strerror}") from None
        try:
            found = planfiles.identities(content)
        except DamagedFileError as error:
            told = f"{path} {error}. Name one of RESULTS/plans/plan-*.json"
            raise UsageError(told) from None
        made: dict[tuple[str, str], Any] = {}
        return cls(tuple(Cell.from_identity(identity, made) for identity in found.values()))


def with_baselines(methods: Sequence[Method]) -> list[Method]:
    """Return the methods with the baselines that are not among them in front."""
    named = {method.name for method in methods}
    baselines = [METHODS.make_one(name) for name in BASELINES if name not in named]
    return [*baselines, *methods]
