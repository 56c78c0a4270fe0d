"""The contract between a method and the benchmark.

A method is given the training split and a budget, asks its context for artefacts, and returns a
compressed set. It never sees the test split.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from bench.components import EDITION, Component, Rule, parameters
from bench.compressed import CompressedSet, Keeps
from bench.images import ImageDataset
from bench.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from bench.arrays import Arrays, IntArray
    from bench.budgets import Budget
    from bench.checkpoints import Checkpoint
    from bench.specs import Spec

__all__ = [
    "METHODS",
    "Artefact",
    "CompressedSet",
    "Context",
    "ImageDataset",
    "Keeps",
    "Method",
    "MethodInfo",
    "quickened",
    "register",
]


class Artefact(Protocol):
    """A stored intermediate; reading an array loads it, or makes and stores it first."""

    @property
    def id(self) -> str:
        """The artefact's identity; known before anything is computed."""

    @property
    def kind(self) -> str:
        """The word for what it holds, e.g. ``bins``."""

    @property
    def inputs(self) -> Sequence[Artefact]:
        """The artefacts that it is made from."""

    def __getitem__(self, name: str) -> Any:
        """Return one of its arrays."""

    def arrays(self) -> Mapping[str, Any]:
        """Return all of its arrays by name."""


class Context(Protocol):
    """What a method may use besides the training split."""

    device: str
    """Where heavy computations run, e.g. ``cpu`` or ``cuda``."""
    selection_seed: int

    def seed(self, *names: str | int) -> int:
        """Return the seed of a role of this selection, in [0, 2**63)."""

    def generator(self, *names: str | int) -> np.random.Generator:
        """Return a generator for a role of this selection."""

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
    ) -> Artefact:
        """Return the artefact of a kind with these inputs and parameters, made when first read.

        Its identity is the training split, the kind, the inputs, the parameters, the version of
        the code that makes it (raise it when the same parameters begin to give other arrays)
        and, when ``seeded``, the selection seed. Its cost, and that of everything read while it
        is made, is charged to everyone who uses it, as time on ``device`` (None: the context's).

        Where another run is making it, reading it may end the selection, which begins anew after
        other cells: read artefacts before computing what is not kept as one.
        """

    def checkpoint(self) -> Checkpoint:
        """Return the place for the training state of the artefact that is being made."""

    def charge(self, seconds: float, elsewhere_s: float = 0.0) -> None:
        """Add seconds that an interrupted run spent on the artefact that is being made.

        ``elsewhere_s`` is how many of them other Slurm jobs spent.
        """

    def tell(self, name: str, value: Any) -> None:
        """Record a fact, a JSON value, of the artefact that is being made.

        It stands in the record of every cell that uses the artefact, beside its cost.
        """

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage has come."""


RECONSTRUCTION = " (reconstruction)"
"""What follows a method's name wherever people read it, if it is one."""


@dataclass(frozen=True)
class MethodInfo:
    """What a reader should know of a method before trusting it."""

    title: str
    paper: str
    year: int | None
    """Of the paper; None where there is none."""
    kind: Literal["baseline", "selection", "synthesis", "storage", "wrapper"]
    code: str
    """What there is of released code, and how far it can be trusted."""
    released: bool = False
    """Whether the authors ever released code."""
    reconstruction: bool = False
    """True where neither code nor enough equations are known: what is here is a reconstruction."""
    seeded: bool = True
    """False for methods whose result never depends on the selection seed."""
    budgeted: bool = True
    """False for methods that keep the same whatever the budget."""
    required: tuple[str, ...] = ()
    """Parameters that a user has to give: without them it can be named, but not run."""

    @property
    def about(self) -> str:
        """The method in a line: its title, whether it is a reconstruction, its paper."""
        label = ", a reconstruction" * (self.reconstruction and "reconstruction" not in self.title)
        paper = "" if self.year is None else f" ({self.paper})"
        return f"{self.title}{label}{paper}"

    @property
    def only_edition(self) -> str:
        """What a method without an ``edition`` parameter is.

        Only selections and syntheses follow a paper, where there is one; the others are our own.
        """
        if self.reconstruction:
            return "reconstruction"
        follows = self.year is not None and self.kind in ("selection", "synthesis")
        return "paper" if follows else "own"


class Method(Component):
    """A way to compress a training set; a frozen dataclass whose fields are its parameters."""

    info: ClassVar[MethodInfo]

    @property
    def called(self) -> str:
        """What people are told: the spec, marked where the method is a reconstruction."""
        return self.spec + RECONSTRUCTION * self.info.reconstruction

    @property
    def quick(self) -> Mapping[str, Any]:
        """Other values of parameters for a check in seconds, where these ones are slow."""
        return {}

    @property
    def keeps(self) -> Keeps:
        """What of a budget the method keeps to."""
        return Keeps.IMAGES

    @property
    def seeded(self) -> bool:
        """Whether the result depends on the selection seed; it may follow from parameters.

        Where it does not, a plan has one selection for all seeds.
        """
        return self.info.seeded

    @property
    def needed_classes(self) -> int | None:
        """How many classes a data set must have for it; None where any number will do."""
        return None

    def refuse_unready(self, keys: Callable[[], Sequence[str]]) -> None:
        """Raise a UsageError where it cannot be run on a training split; asked before any work.

        By default nothing is refused. Pretrained weights are asked for by :meth:`weights`.

        Parameters
        ----------
        keys : callable
            Returns the keys of the training images, in any order.
        """
        return

    def expected_images(self, budget: Budget, available: int) -> int:
        """Return how many of the available images a plan expects it to keep.

        Methods that spend bytes keep all images, smaller, where they can.
        """
        return available if self.keeps is Keeps.BYTES else budget.images(available)

    def looks(self, class_counts: IntArray, budget: Budget) -> int:
        """Return how many images :meth:`compress` itself sends through networks, repeated ones too.

        For a plan, which has no images yet; what declared artefacts take is not in it.

        Parameters
        ----------
        class_counts : int64 [C]
            Images of each class in the training split.
        """
        return 0

    @property
    def balanced(self) -> bool | None:
        """Whether every class keeps its share of the budget; None where nothing is promised."""
        return None

    @property
    def budgeted(self) -> bool:
        """Whether a budget changes what is kept; a method that no budget changes runs once."""
        return self.info.budgeted

    def bytes_each(self, train: ImageDataset) -> int:
        """Return the bytes that one kept image takes, with its label."""
        return train.bytes_per_image

    def facts(self) -> dict[str, Any]:
        """Return what a reader of a record should know of the method, as JSON values."""
        info = self.info
        return {
            "title": info.title,
            "paper": info.paper,
            "year": info.year,
            "kind": info.kind,
            "edition": str(self.values().get(EDITION, info.only_edition)),
            "released": info.released,
            "reconstruction": info.reconstruction,
            "seeded": self.seeded,
            "budgeted": self.budgeted,
            "keeps": self.keeps.name.lower(),
        }

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the artefacts that :meth:`compress` will read.

        Neither the images nor an artefact may be read here: a plan asks for this list without
        having loaded any. What it returns is for planning; :meth:`compress` asks the context for
        its artefacts with the images that it is given.
        """
        return ()

    @abstractmethod
    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the part of the training split that the budget allows to keep.

        The images come in the order of their keys, so that the order of files on a disk changes
        nothing.
        """


@runtime_checkable
class QuickeningRule(Rule, Protocol):
    """The rule of a text parameter that names another method."""

    def quickened(self, value: str) -> str:
        """Return a value with the named method's ``quick`` values."""


METHODS: Registry[Method] = Registry("method", Method, plugins="bench.methods")
register = METHODS.register


def quickened(spec: Spec) -> Method:
    """Return the method that a spec names, with its ``quick`` values where none are typed.

    A method that a parameter names is quickened in the same way.
    """
    family, typed = METHODS.get(spec.name), dict(spec.parameters)
    for parameter in parameters(family):
        if isinstance(parameter.rule, QuickeningRule) and parameter.name in typed:
            typed[parameter.name] = parameter.rule.quickened(typed[parameter.name])
    return family.from_parameters({**family.from_parameters(typed).quick, **typed})
