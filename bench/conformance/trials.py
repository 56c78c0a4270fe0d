"""Trials: one method, one data set, one budget, in a temporary results folder."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bench.conformance.data import copied
from bench.conformance.guards import (
    GuardedContext,
    GuardedDataset,
    Watch,
    global_random_states,
    no_data_sets,
)
from bench.context import LazyArtefact, RunContext
from bench.contract import CompressedSet, Context, Keeps, Method
from bench.errors import DataError
from bench.generators import seeded_globally
from bench.results import Results
from bench.selecting import select

if TYPE_CHECKING:
    from bench.artefacts import StoredArtefact
    from bench.budgets import Budget
    from bench.contract import Artefact, ImageDataset


_FORMS = (
    ("indices", ("int64",), 1),
    ("images", ("uint8", "float32"), 4),
    ("labels", ("int64",), 1),
    ("soft_labels", ("float32",), 2),
    ("weights", ("float32",), 1),
)
"""The arrays of a compressed set: name, types, dimensions."""


class InterruptedTrial(KeyboardInterrupt):
    """The kit's own Ctrl-C, told from the user's."""


class WatchedContext(RunContext):
    """A context in a folder that notes who reads what, and may interrupt.

    Parameters
    ----------
    folder : Path
        The results folder.
    seed : int
        The selection seed.
    interrupt_at : int
        Which call of ``progress`` is answered by Ctrl-C, counted from 1; 0 for none.
    """

    def __init__(self, folder: Path, seed: int, interrupt_at: int = 0) -> None:
        results = Results(folder)
        super().__init__(
            {"name": "conformance"}, seed, "cpu", results.artefacts, results.leases,
            results.checkpoint,
        )  # fmt: skip
        self.stages: list[str] = []
        self.undeclared: list[str] = []
        self._interrupt_at = interrupt_at

    def progress(self, stage: str, done: int, total: int) -> None:
        """Note the call, and interrupt at the one that was asked for."""
        self.stages.append(stage)
        if len(self.stages) == self._interrupt_at:
            raise InterruptedTrial

    def obtain(self, artefact: LazyArtefact) -> StoredArtefact:
        """Note a read of what the reader does not have among its inputs."""
        if self._making:
            reader = self._making[-1].artefact
            if artefact.id not in closure(reader.inputs):
                who = "compress()" if reader.kind == "compressed" else f"artefact '{reader.kind}'"
                self.undeclared.append(f"{who} reads artefact '{artefact.kind}'")
        return super().obtain(artefact)


class PlanningContext(WatchedContext):
    """A context before anything is computed: no artefact can be read."""

    def __init__(self, folder: Path, seed: int, watch: Watch) -> None:
        super().__init__(folder, seed)
        self._watch = watch

    def obtain(self, artefact: LazyArtefact) -> StoredArtefact:
        """Refuse."""
        return self._watch.refuse(f"it reads artefact '{artefact.kind}'")


def closure(artefacts: Iterable[Artefact]) -> set[str]:
    """Return the ids of artefacts and of all that they are made from."""
    found: set[str] = set()
    for artefact in artefacts:
        found |= {artefact.id} | closure(artefact.inputs)
    return found


@dataclass
class Trial:
    """What a method did in one run."""

    train: ImageDataset
    """The training split as the method saw it: in the order of the keys."""
    budget: Budget
    compressed: CompressedSet | None = None
    error: BaseException | None = None
    """What it raised instead."""
    stages: list[str] = field(default_factory=list)
    """The stages of its calls of ``ctx.progress``."""
    undeclared: list[str] = field(default_factory=list)
    """Reads of artefacts that their reader did not declare."""
    changed: list[str] = field(default_factory=list)
    """Global random states that are not what they were."""
    wrote: bool = False
    """Whether the images or labels are not what they were; looked at with a watch only."""

    @property
    def kept(self) -> CompressedSet:
        """The compressed set of a run that gave one."""
        assert self.compressed is not None
        return self.compressed

    @property
    def fault(self) -> str:
        """Why the set's form is wrong; empty where it is right."""
        try:
            self.kept.check(self.train, self.budget, Keeps.ITS_OWN_COUNT)  # its form alone
            labels = self.kept.training_set(self.train).labels
        except DataError as error:
            return str(error)
        if not 0 <= labels.min() <= labels.max() < len(self.train.classes):
            return f"the method gave labels outside 0 to {len(self.train.classes) - 1}"
        return ""

    def content(self, *, in_order: bool = True) -> list[Any]:
        """Return the set's content, comparable: keys or labels, with pixels where it has some."""
        kept = self.kept
        keys: list[Any] = [self.train.keys[index] for index in kept.indices]
        if kept.labels is not None:
            keys = kept.labels.tolist()
        pixels = [b""] * len(keys)
        if kept.images is not None:
            pixels = [image.tobytes() for image in kept.images]
        beside = [b""] * len(keys)
        for values in (kept.soft_labels, kept.weights):
            if values is not None:
                beside = [a + b.tobytes() for a, b in zip(beside, values, strict=True)]
        told = list(zip(keys, pixels, beside, strict=True))
        return told if in_order else sorted(told)


class _Probe:
    """Stands for a method in :func:`bench.selecting.select` and notes what it returned as it is.

    ``select`` itself is handed an empty set, so that one fault is not told by every trial.
    """

    def __init__(
        self,
        method: Method,
        trial: Trial,
        watch: Watch | None,
        declared_on: ImageDataset | None,
    ) -> None:
        self._method, self._trial, self._watch = method, trial, watch
        self._declared_on = declared_on
        self.info, self.keeps, self.seeded = method.info, method.keeps, method.seeded
        self.identity = method.identity

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Declare the method's artefacts, for another order of the images where one is given."""
        return self._method.artefacts(self._declared_on or train, ctx)

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Run the method, guarded where there is a watch."""
        self._trial.train = train
        handed = train
        with ExitStack() as guards:
            if self._watch is not None:
                handed = GuardedDataset.of(train, self._watch)
                ctx = cast("Context", GuardedContext(ctx, self._watch))
                guards.enter_context(no_data_sets(self._watch))
            try:
                compressed = self._method.compress(handed, budget, ctx)
            finally:
                self._trial.wrote = not (
                    np.array_equal(handed.images, train.images)
                    and np.array_equal(handed.labels, train.labels)
                )
        _require_types(compressed)
        self._trial.compressed = compressed
        return _NothingKept(np.empty(0, dtype=np.int64))


class _NothingKept(CompressedSet):
    def check(self, *_: object) -> None:
        """Accept: the kit looks at what the method really returned."""


class MalformedError(Exception):
    """A method returned what the core could not even look at."""


def _require_types(compressed: object) -> None:
    """Raise a MalformedError where the arrays of a set are none, or of other types."""
    if not isinstance(compressed, CompressedSet):
        raise MalformedError(f"compress() returned {type(compressed).__name__}, no CompressedSet")
    for name, types, dimensions in _FORMS:
        array = getattr(compressed, name)
        if array is None and name != "indices":
            continue
        if not isinstance(array, np.ndarray):
            raise MalformedError(
                f"the set's {name} are of type {type(array).__name__}, no numpy array"
            )
        if array.dtype.name not in types or array.ndim != dimensions:
            raise MalformedError(
                f"the set's {name} are {array.dtype} with {array.ndim} dimensions. "
                f"Give {' or '.join(types)} with {dimensions}"
            )


def run_trial(
    method: Method,
    train: ImageDataset,
    budget: Budget,
    context: WatchedContext,
    *,
    watch: Watch | None = None,
    global_seed: int = 0,
    declared_on: ImageDataset | None = None,
) -> Trial:
    """Run a method once, through the one way that the benchmark runs it.

    Parameters
    ----------
    watch : Watch, optional
        Where reaches beyond the contract are noted; with it the arrays cannot be written.
    global_seed : int
        What the process's shared generators are seeded with, which must not matter.
    declared_on : ImageDataset, optional
        What ``artefacts()`` is given instead of the training split, which must not matter.
    """
    trial = Trial(train, budget)
    probe = cast("Method", _Probe(method, trial, watch, declared_on))
    with seeded_globally(global_seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's on degenerate data, torch's on guarded arrays
        before = global_random_states()
        try:
            select(probe, copied(train), budget, context)
        except (Exception, SystemExit, InterruptedTrial) as error:  # a method may raise anything
            trial.error = error
            trial.compressed = None
        after = global_random_states()
    trial.changed = [name for name, state in before.items() if after[name] != state]
    trial.stages, trial.undeclared = context.stages, context.undeclared
    return trial


def told(error: BaseException, method: Method) -> str:
    """Return an exception's type, its last line and the method's line that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(sys.modules.get(type(method).__module__), "__file__", None)
    own = [frame for frame in frames if frame.filename == file]
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
    place = (own or frames)[-1:]
    return text + "".join(f" ({Path(f.filename).name}:{f.lineno})" for f in place)
