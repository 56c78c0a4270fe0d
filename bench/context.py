"""The context that a method is given: seeds, device, artefacts and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.identity import derive_seed, identifier
from bench.metering import Meter
from bench.progress import Progress
from bench.provenance import machine

if TYPE_CHECKING:
    from bench.arrays import Arrays
    from bench.artefacts import ArtefactStore, StoredArtefact
    from bench.contract import Artefact
    from bench.leases import Leases

_POLL_S = 0.2


@dataclass(frozen=True)
class LazyArtefact:
    """An artefact that is known by its id and computed, or loaded, when it is first read."""

    id: str
    kind: str
    inputs: tuple[Artefact, ...]
    make: Callable[[], Arrays]
    context: RunContext = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.context.obtain(self).arrays[name]


class RunContext:
    """The :class:`bench.contract.Context` of one selection on one training split.

    Parameters
    ----------
    dataset : mapping
        The identity of the data set, fingerprint included.
    selection_seed : int
        What every random choice of the selection derives from.
    device : str
        Where heavy computations run; no part of an artefact's identity.
    store, leases
        Where artefacts are kept, and what keeps two workers from making the same one.
    """

    def __init__(
        self,
        dataset: Mapping[str, Any],
        selection_seed: int,
        device: str,
        store: ArtefactStore,
        leases: Leases,
        progress: Progress | None = None,
    ) -> None:
        self.selection_seed = selection_seed
        self.device = device
        self.costs: dict[str, dict[str, Any]] = {}
        self._dataset = dict(dataset)
        self._store = store
        self._leases = leases
        self._progress = progress or Progress()
        self._meter = Meter()
        self._obtained: dict[str, StoredArtefact] = {}

    def seed(self, *names: str | int) -> int:
        """Return the seed of a role of this selection."""
        return derive_seed(self.selection_seed, "selection", *names)

    def generator(self, *names: str | int) -> np.random.Generator:
        """Return a numpy generator for a role of this selection."""
        return np.random.default_rng(self.seed(*names))

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage has come."""
        self._progress.stage(stage, done, total)

    def artefact(
        self,
        kind: str,
        make: Callable[[], Arrays],
        *,
        inputs: Sequence[Artefact] = (),
        params: Mapping[str, Any] | None = None,
        seeded: bool = True,
        version: int = 1,
    ) -> LazyArtefact:
        """Return the artefact of a kind; see :meth:`bench.contract.Context.artefact`."""
        identity = {
            "dataset": self._dataset,
            "inputs": [artefact.id for artefact in inputs],
            "params": dict(params or {}),
            "seed": self.selection_seed if seeded else None,
            "version": version,
        }
        return LazyArtefact(identifier(kind, identity), kind, tuple(inputs), make, self)

    def obtain(self, artefact: LazyArtefact) -> StoredArtefact:
        """Load an artefact, or make it, or wait for the worker who makes it."""
        stored = self._obtained.get(artefact.id) or self._store.load(artefact.id)
        while stored is None:
            with self._leases.taken(artefact.id) as lease:
                if lease is not None:
                    stored = self._store.load(artefact.id) or self._make(artefact)
            if stored is None:
                owner = self._leases.owner(artefact.id)
                self._progress.waiting(f"{artefact.kind} made by {owner}")
                time.sleep(_POLL_S)
                stored = self._store.load(artefact.id)
        self._obtained[artefact.id] = stored
        self.costs.update(stored.manifest["costs"])
        return stored

    def _make(self, artefact: LazyArtefact) -> StoredArtefact:
        self._progress.stage(artefact.kind, 0, 0)
        with self._meter.stage(artefact.kind) as stage:
            arrays = artefact.make()
        costs: dict[str, Any] = {}
        for needed in artefact.inputs:
            costs.update(self._costs_of(needed))
        costs[artefact.id] = {
            "kind": artefact.kind,
            "seconds": stage.seconds,
            "device": self.device,
        }
        manifest = {"schema": 1, "id": artefact.id, "costs": costs, "machine": machine()}
        return self._store.save(artefact.id, arrays, manifest)

    def _costs_of(self, artefact: Artefact) -> dict[str, Any]:
        if isinstance(artefact, LazyArtefact):
            return dict(self.obtain(artefact).manifest["costs"])
        return {}
