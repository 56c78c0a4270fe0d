"""The context that a method is given: seeds, device, artefacts and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.identity import derive_seed, identifier
from bench.metering import Meter, Stage
from bench.progress import Progress
from bench.provenance import blas_kernels, machine, slurm_facts

if TYPE_CHECKING:
    from bench.arrays import Arrays
    from bench.artefacts import ArtefactStore, StoredArtefact
    from bench.checkpoints import Checkpoint
    from bench.contract import Artefact
    from bench.leases import Leases

_POLL_S = 0.2
_OF_FEW_CELLS = "compressed"
"""The kind that only cells with one method, budget and seed have in common."""
_WORDS = {_OF_FEW_CELLS: "choosing images"}
"""What making an artefact is called where its kind is no word for a thing."""


class MadeElsewhere(BaseException):
    """Another worker makes an artefact that is needed, and this one has other work.

    No error: nothing shall catch it on its way out of a method.
    """


@dataclass(frozen=True)
class LazyArtefact:
    """An artefact that is known by its id and computed, or loaded, when it is first read."""

    id: str
    kind: str
    inputs: tuple[Artefact, ...]
    make: Callable[[], Arrays]
    device: str
    context: RunContext = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.arrays()[name]

    def arrays(self) -> Mapping[str, Any]:
        """Return all of its arrays by name."""
        return self.context.obtain(self).arrays


@dataclass(frozen=True)
class _Making:
    """An artefact that is being made: its time, and the costs of all that it reads."""

    artefact: LazyArtefact
    stage: Stage
    costs: dict[str, Any]
    told: dict[str, Any]


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
    checkpoint : callable
        Gives the checkpoint's place for an artefact's id.
    waits : bool
        Whether an artefact that another worker makes is waited for; otherwise reading it raises
        :class:`MadeElsewhere`. Inputs that were not read while something was made are waited for
        always: it is made by then.
    """

    def __init__(
        self,
        dataset: Mapping[str, Any],
        selection_seed: int,
        device: str,
        store: ArtefactStore,
        leases: Leases,
        checkpoint: Callable[[str], Checkpoint],
        progress: Progress | None = None,
        waits: bool = True,
    ) -> None:
        self.selection_seed = selection_seed
        self.device = device
        self.costs: dict[str, dict[str, Any]] = {}
        self._dataset = dict(dataset)
        self._store = store
        self._leases = leases
        self._checkpoint = checkpoint
        self._progress = progress or Progress()
        self._waits = waits
        self._meter = Meter()
        self._making: list[_Making] = []
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

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint of the artefact that is being made."""
        return self._checkpoint(self._making[-1].artefact.id)

    def charge(self, seconds: float, elsewhere_s: float = 0.0) -> None:
        """Add seconds that an interrupted run spent on the artefact that is being made."""
        stage = self._making[-1].stage
        stage.seconds_before += seconds
        stage.seconds_elsewhere += elsewhere_s

    def tell(self, name: str, value: Any) -> None:
        """Record a fact of the artefact that is being made."""
        self._making[-1].told[name] = value

    def artefact(
        self,
        kind: str,
        make: Callable[[], Arrays],
        *,
        inputs: Sequence[Artefact] = (),
        params: Mapping[str, Any] | None = None,
        seeded: bool = True,
        version: int = 1,
        device: str | None = None,
    ) -> LazyArtefact:
        """Return the artefact of a kind; see :meth:`bench.contract.Context.artefact`."""
        identity = {
            "dataset": self._dataset,
            "inputs": [artefact.id for artefact in inputs],
            "params": dict(params or {}),
            "seed": self.selection_seed if seeded else None,
            "version": version,
        }
        name = identifier(kind, identity)
        return LazyArtefact(name, kind, tuple(inputs), make, device or self.device, self)

    def obtain(self, artefact: LazyArtefact) -> StoredArtefact:
        """Load an artefact, or make it, or wait for the worker who makes it.

        Raises
        ------
        MadeElsewhere
            When another worker makes it and this context does not wait.
        """
        stored = self._obtained.get(artefact.id)
        if stored is None:
            # charged to nobody
            with self._meter.stage("loading and waiting"), self._told_if_shared(artefact):
                stored = self._loaded_or_made(artefact)
            self._obtained[artefact.id] = stored
        for costs in (self.costs, *(making.costs for making in self._making)):
            costs.update(stored.manifest["costs"])
        return stored

    @contextmanager
    def _told_if_shared(self, artefact: LazyArtefact) -> Iterator[None]:
        """Tell where the block is for what many cells share, once for all that it is made from."""
        kinds = [one.artefact.kind for one in self._making]
        if artefact.kind == _OF_FEW_CELLS or set(kinds) - {_OF_FEW_CELLS}:
            yield
            return
        self._progress.shared_begins()
        try:
            yield
        finally:
            self._progress.shared_ends()

    def _loaded_or_made(self, artefact: LazyArtefact) -> StoredArtefact:
        while True:
            stored = self._store.load(artefact.id)
            if stored is not None:
                return stored
            with self._leases.taken(artefact.id) as lease:
                if lease is not None:
                    return self._store.load(artefact.id) or self._make(artefact)
            if not self._waits:
                raise MadeElsewhere
            holder = self._leases.holder(artefact.id)
            self._progress.waiting(f"{artefact.kind} made by {holder}")
            time.sleep(_POLL_S)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wait for what others make, whatever the context does otherwise."""
        before, self._waits = self._waits, True
        try:
            yield
        finally:
            self._waits = before

    def _make(self, artefact: LazyArtefact) -> StoredArtefact:
        self._progress.stage(_WORDS.get(artefact.kind, f"making {artefact.kind}"), 0, 0)
        with self._meter.stage(artefact.kind) as stage:
            making = _Making(artefact, stage, {}, {})
            self._making.append(making)
            try:
                arrays = artefact.make()
                with self._waiting():  # leaving now would throw away what is made
                    for needed in artefact.inputs:
                        if isinstance(needed, LazyArtefact):
                            self.obtain(needed)
            finally:
                self._making.pop()
        own = {
            "kind": artefact.kind,
            "seconds": stage.seconds + stage.seconds_before,
            "device": artefact.device,
            **slurm_facts(),
        }
        if stage.seconds_before:
            own["before_s"] = stage.seconds_before
            own["elsewhere_s"] = stage.seconds_elsewhere
        if making.told:
            own["told"] = making.told
        costs = {**making.costs, artefact.id: own}
        manifest = {
            "schema": 1, "id": artefact.id, "costs": costs,
            "machine": machine(), "blas": blas_kernels(),
        }  # fmt: skip
        stored = self._store.save(artefact.id, arrays, manifest)
        self._checkpoint(artefact.id).clear()
        return stored
