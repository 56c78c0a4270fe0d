"""Compressed sets: what methods return, with their own accounts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import DataError
from bench.images import ImageDataset

if TYPE_CHECKING:
    from bench.arrays import Arrays, Float32Array, IntArray, Pixels
    from bench.budgets import Budget

_OPTIONAL = ("images", "labels", "soft_labels", "weights")


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
    soft_labels : float32 [K, classes] or None
        Probabilities that a network is trained on instead of the labels.
    weights : float32 [K] or None
        Weights of the images in the training loss, with mean 1.
    stored_bytes : int or None
        Bytes that keeping the set takes: pixels, masks, labels. None for whole images as they
        are held here, with their labels and weights.
    shared_bytes : int
        Bytes that using the set needs once, whatever its size, e.g. the autoencoder that paints
        dropped patches. No budget counts them; they are shown beside it.
    bin_counts : tuple of int
        Images kept of each bin, for methods that have bins.
    notes : mapping
        What the method wants the record to say (JSON values): scores, quotas, choices made.
    """

    indices: IntArray
    images: Pixels | None = None
    labels: IntArray | None = None
    soft_labels: Float32Array | None = None
    weights: Float32Array | None = None
    stored_bytes: int | None = None
    shared_bytes: int = 0
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
            {
                "notes": dict(self.notes),
                "stored_bytes": self.stored_bytes,
                "shared_bytes": self.shared_bytes,
            },
            allow_nan=False,
        )
        arrays: Arrays = {
            "indices": self.indices.astype(np.int64),
            "bin_counts": np.array(self.bin_counts, dtype=np.int64),
            "told": np.frombuffer(told.encode(), dtype=np.uint8),
        }
        optional = {name: getattr(self, name) for name in _OPTIONAL}
        return arrays | {name: array for name, array in optional.items() if array is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> CompressedSet:
        """Return the set that :meth:`to_arrays` gave."""
        told = json.loads(arrays["told"].tobytes())
        return cls(
            indices=arrays["indices"],
            **{name: arrays.get(name) for name in _OPTIONAL},
            stored_bytes=told["stored_bytes"],
            shared_bytes=told.get("shared_bytes", 0),  # sets that were stored before had none
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
            raise DataError(
                f"nothing is kept of {len(train)} images. Raise the ratio, or keep at least one"
            )
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
        shapes = {"soft_labels": (len(self), len(train.classes)), "weights": (len(self),)}
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and (values.shape != shape or not (values >= 0).all()):
                raise DataError(f"{name} of shape {values.shape} are no numbers >= 0 of {shape}")
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
        beside = sum(int(one.nbytes) for one in (self.soft_labels, self.weights) if one is not None)
        pixel_bytes = 1 if self.images is None else int(self.images.itemsize)
        each = train.bytes_per_image + int(np.prod(train.shape)) * (pixel_bytes - 1)
        return len(self) * each + beside

    def accounts(self, train: ImageDataset) -> dict[str, Any]:
        """Return what the set costs to keep and how it is spread, as JSON values."""
        return {
            "images": len(self),
            "bytes": self.bytes(train),
            "shared_bytes": self.shared_bytes,
            "full_images": len(train),
            "full_bytes": len(train) * train.bytes_per_image,
            "content": self.content,
            "labels": "hard" if self.soft_labels is None else "soft",
            "weighted": self.weights is not None,
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
    ITS_OWN_COUNT = "what released code, an equation read literally or an index file keeps"
