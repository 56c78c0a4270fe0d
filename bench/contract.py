"""The contract between a method and the benchmark.

A method is given the training split and a budget, asks its context for artefacts, and returns a
compressed set. It never sees the test split.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

from bench.components import EDITION, Component
from bench.errors import DataError
from bench.registry import Registry

if TYPE_CHECKING:
    from bench.arrays import Arrays, IntArray, Pixels
    from bench.budgets import Budget
    from bench.checkpoints import Checkpoint


@dataclass(frozen=True)
class ImageDataset:
    """One split of a data set, held in memory.

    Parameters
    ----------
    images : uint8 [N, H, W, C]
        C is 1 (grey) or 3 (RGB). Images that a method made may be float32 in the same units.
    labels : int64 [N]
        In 0 ... len(classes) - 1.
    classes : tuple of str
        The classes' names, by label.
    keys : tuple of str
        A name for each image that does not depend on its position: the file's name or the
        official index. Images are joined by key, never by position.
    """

    images: Pixels
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
        Positions in the training split, in the order of selection; empty for synthetic images.
    images : uint8 or float32 [K, H, W, C] or None
        What stands for the kept images: reconstructions of those at ``indices``, or synthetic
        images. Floats are in the same units, 255 for white, and may be outside of 0 ... 255.
    labels : int64 [K] or None
        Labels of synthetic images; None where the images at ``indices`` have theirs.
    stored_bytes : int or None
        Bytes that keeping the set takes: pixels, masks, labels. None for whole images.
    bin_counts : tuple of int
        Images kept of each bin, for methods that have bins.
    notes : mapping
        What the method wants the record to say (JSON values): scores, quotas, choices made.
    """

    indices: IntArray
    images: Pixels | None = None
    labels: IntArray | None = None
    stored_bytes: int | None = None
    bin_counts: tuple[int, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.indices if self.images is None else self.images)

    @property
    def is_synthetic(self) -> bool:
        """Whether the images stand for no image of the training split."""
        return self.labels is not None

    def to_arrays(self) -> Arrays:
        """Return the set as arrays for one file; :meth:`from_arrays` is the way back."""
        told = json.dumps(
            {"notes": dict(self.notes), "stored_bytes": self.stored_bytes}, allow_nan=False
        )
        arrays: Arrays = {
            "indices": self.indices.astype(np.int64),
            "bin_counts": np.array(self.bin_counts, dtype=np.int64),
            "told": np.frombuffer(told.encode(), dtype=np.uint8),
        }
        optional = {"images": self.images, "labels": self.labels}
        return arrays | {name: array for name, array in optional.items() if array is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> CompressedSet:
        """Return the set that :meth:`to_arrays` gave."""
        told = json.loads(arrays["told"].tobytes())
        return cls(
            indices=arrays["indices"],
            images=arrays.get("images"),
            labels=arrays.get("labels"),
            stored_bytes=told["stored_bytes"],
            bin_counts=tuple(arrays["bin_counts"].tolist()),
            notes=told["notes"],
        )

    def check(self, train: ImageDataset, budget: Budget, keeps: Keeps) -> None:
        """Raise a DataError when the set is not one of this training split and budget."""
        self._check_form(train)
        if keeps is Keeps.IMAGES and budget.of == "images":
            allowed = budget.images(len(train))
            if len(self) != allowed:
                raise DataError(
                    f"the method kept {len(self)} images; {budget.words} of {len(train)} "
                    f"is {allowed}. Keep exactly that many"
                )
        elif keeps is not Keeps.ITS_OWN_COUNT:
            allowed = budget.bytes(len(train) * train.bytes_per_image)
            if (stored := self.bytes(train)) > allowed:
                raise DataError(
                    f"the method kept {stored} bytes; {budget.words} of the training split are "
                    f"{allowed}. Keep at most that many"
                )

    def _check_form(self, train: ImageDataset) -> None:
        indices = self.indices
        if len(self) == 0:
            raise DataError("the method kept nothing. Keep at least one image")
        if len(np.unique(indices)) != len(indices):
            raise DataError("the method kept an image twice. Keep each image once")
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(train):
            raise DataError(f"the method kept positions outside 0 to {len(train) - 1}")
        labels = indices if self.labels is None else self.labels
        if self.is_synthetic == bool(len(indices)) or len(labels) != len(self):
            raise DataError(
                f"{len(self)} images, {len(indices)} positions and {len(labels)} labels do not "
                "belong together. Give one position, or one label, for each image"
            )
        if self.images is not None and self.images.shape[1:] != train.shape:
            raise DataError(f"the method made images of {self.images.shape[1:]}, not {train.shape}")

    def training_set(self, train: ImageDataset) -> ImageDataset:
        """Return the images and labels that a network is trained on."""
        if self.labels is not None and self.images is not None:
            keys = tuple(f"synthetic-{number}" for number in range(len(self)))
            return ImageDataset(self.images, self.labels, train.classes, keys)
        kept = train.subset(self.indices)
        return kept if self.images is None else replace(kept, images=self.images)

    def bytes(self, train: ImageDataset) -> int:
        """Return the bytes that keeping the set takes."""
        if self.stored_bytes is not None:
            return self.stored_bytes
        return len(self) * train.bytes_per_image

    def accounts(self, train: ImageDataset) -> dict[str, Any]:
        """Return what the set costs to keep and how it is spread, as JSON values."""
        return {
            "images": len(self),
            "bytes": self.bytes(train),
            "full_images": len(train),
            "full_bytes": len(train) * train.bytes_per_image,
            "content": self.content,
            "class_counts": self.training_set(train).class_counts.tolist(),
            "bin_counts": list(self.bin_counts),
            "notes": dict(self.notes),
        }

    @property
    def content(self) -> str:
        """What the images are: ``selected``, ``reconstructed`` or ``synthetic``."""
        if self.is_synthetic:
            return "synthetic"
        return "selected" if self.images is None else "reconstructed"


class Keeps(Enum):
    """What of a budget a method keeps to."""

    IMAGES = "exactly the number of images, or at most the bytes, that the budget says"
    BYTES = "any number of images in at most the budget's share of the bytes"
    ITS_OWN_COUNT = "what released code, or an equation read literally, keeps"


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
    kind: Literal["baseline", "selection", "synthesis", "storage", "wrapper"]
    code: str
    """What there is of released code, and how far it can be trusted."""
    released: bool = False
    """Whether the authors ever released code."""
    reconstruction: bool = False
    """True where neither code nor enough equations are known: what is here is a reconstruction."""
    seeded: bool = True
    """False for methods whose result does not depend on the selection seed."""
    budgeted: bool = True
    """False for methods that always keep everything."""


class Method(Component):
    """A way to compress a training set; a frozen dataclass whose fields are its parameters."""

    info: ClassVar[MethodInfo]

    @property
    def keeps(self) -> Keeps:
        """What of a budget the method keeps to."""
        return Keeps.IMAGES

    def facts(self) -> dict[str, Any]:
        """Return what a reader of a record should know of the method, as JSON values."""
        info = self.info
        return {
            "title": info.title,
            "paper": info.paper,
            "year": info.year,
            "kind": info.kind,
            "edition": self.values().get(EDITION, "paper"),
            "released": info.released,
            "reconstruction": info.reconstruction,
            "seeded": info.seeded,
            "keeps": self.keeps.name.lower(),
        }

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the artefacts that :meth:`compress` will read.

        Neither the images nor an artefact may be read here: a plan asks for this list without
        having loaded any.
        """
        return ()

    @abstractmethod
    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the part of the training split that the budget allows to keep.

        The images come in the order of their keys, so that the order of files on a disk changes
        nothing.
        """


METHODS: Registry[Method] = Registry("method", Method, plugins="bench.methods")
register = METHODS.register
