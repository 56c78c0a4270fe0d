"""The contract between a method and the benchmark.

A method is given the training split and a budget, asks its context for artefacts, and returns a
compressed set. It never sees the test split.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

from bench.components import Component
from bench.errors import DataError
from bench.registry import Registry

if TYPE_CHECKING:
    from bench.arrays import Arrays, ByteArray, IntArray
    from bench.budgets import Budget
    from bench.checkpoints import Checkpoint


@dataclass(frozen=True)
class ImageDataset:
    """One split of a data set, held in memory.

    Parameters
    ----------
    images : uint8 [N, H, W, C]
        C is 1 (grey) or 3 (RGB).
    labels : int64 [N]
        In 0 ... len(classes) - 1.
    classes : tuple of str
        The classes' names, by label.
    keys : tuple of str
        A name for each image that does not depend on its position: the file's name or the
        official index. Images are joined by key, never by position.
    """

    images: ByteArray
    labels: IntArray
    classes: tuple[str, ...]
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.labels) == len(self.keys):
            raise DataError(
                f"{len(self.images)} images, {len(self.labels)} labels and {len(self.keys)} keys "
                "do not belong together. Give one label and one key for each image"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: IntArray) -> ImageDataset:
        """Return the images at these positions, in this order."""
        return ImageDataset(
            self.images[indices],
            self.labels[indices],
            self.classes,
            tuple(self.keys[index] for index in indices),
        )

    @property
    def class_counts(self) -> IntArray:
        """Number of images of each class, int64 [classes]."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @property
    def bytes_per_image(self) -> int:
        """Bytes that one image takes uncompressed, with its label."""
        label_bytes = 1 if len(self.classes) <= 256 else 2
        return int(np.prod(self.shape)) + label_bytes


@dataclass(frozen=True)
class CompressedSet:
    """What a method keeps of a training split, with its own accounts.

    Parameters
    ----------
    indices : int64 [K]
        Positions in the training split, in the order of selection.
    bin_counts : tuple of int
        Images kept of each bin, for methods that have bins.
    notes : mapping
        What the method wants the record to say (JSON values): scores, quotas, choices made.
    """

    indices: IntArray
    bin_counts: tuple[int, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def to_arrays(self) -> Arrays:
        """Return the set as arrays for one file; :meth:`from_arrays` is the way back."""
        notes = json.dumps(dict(self.notes), allow_nan=False).encode()
        return {
            "indices": self.indices.astype(np.int64),
            "bin_counts": np.array(self.bin_counts, dtype=np.int64),
            "notes": np.frombuffer(notes, dtype=np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: Artefact) -> CompressedSet:
        """Return the set that an artefact holds."""
        return cls(
            indices=arrays["indices"],
            bin_counts=tuple(arrays["bin_counts"].tolist()),
            notes=json.loads(arrays["notes"].tobytes()),
        )

    def check(self, train: ImageDataset, budget: Budget) -> None:
        """Raise a DataError when the set is not what the budget allows."""
        allowed = budget.images(len(train))
        if len(self.indices) != allowed:
            raise DataError(
                f"the method kept {len(self.indices)} images; {budget.label} % of {len(train)} "
                f"is {allowed}. Keep exactly that many"
            )
        if len(np.unique(self.indices)) != len(self.indices):
            raise DataError("the method kept an image twice. Keep each image once")
        if len(self.indices) and not 0 <= self.indices.min() <= self.indices.max() < len(train):
            raise DataError(f"the method kept positions outside 0 to {len(train) - 1}")

    def accounts(self, train: ImageDataset) -> dict[str, Any]:
        """Return what the set costs to keep and how it is spread, as JSON values."""
        kept = np.bincount(train.labels[self.indices], minlength=len(train.classes))
        return {
            "images": len(self.indices),
            "bytes": len(self.indices) * train.bytes_per_image,
            "full_images": len(train),
            "full_bytes": len(train) * train.bytes_per_image,
            "class_counts": kept.tolist(),
            "bin_counts": list(self.bin_counts),
            "notes": dict(self.notes),
        }


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
        """

    def checkpoint(self) -> Checkpoint:
        """Return the place for the training state of the artefact that is being made."""

    def charge(self, seconds: float) -> None:
        """Add seconds that an interrupted run spent on the artefact that is being made."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage has come."""


@dataclass(frozen=True)
class MethodInfo:
    """What a reader should know of a method before trusting it."""

    title: str
    paper: str
    year: int
    kind: Literal["baseline", "selection", "synthesis"]
    code: str
    """Whether the authors released code, and how far it can be trusted."""
    seeded: bool = True
    """False for methods whose result does not depend on the selection seed."""
    budgeted: bool = True
    """False for methods that always keep everything."""


class Method(Component):
    """A way to compress a training set; a frozen dataclass whose fields are its parameters."""

    info: ClassVar[MethodInfo]

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the artefacts that :meth:`compress` will read.

        Neither the images nor an artefact may be read here: a plan asks for this list without
        having loaded any.
        """
        return ()

    @abstractmethod
    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the part of the training split that the budget allows to keep."""


METHODS: Registry[Method] = Registry("method", Method, plugins="bench.methods")
register = METHODS.register
