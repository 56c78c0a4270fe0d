"""Images with labels, as every floor passes them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import DataError, MissingClassError

if TYPE_CHECKING:
    from bench.arrays import IntArray, Pixels


@dataclass(frozen=True)
class ImageDataset:
    """One split of a data set.

    Parameters
    ----------
    images : uint8 [N, H, W, C]
        C is 1 (grey) or 3 (RGB). Images that a method made may be float32 in the same units.
        Those that do not fit are :class:`bench.datasets.lazy_images.LazyImages`, decoded when
        they are looked at.
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
        some: Any = self.images
        return ImageDataset(
            some.take(indices) if hasattr(some, "original") else some[indices],
            self.labels[indices],
            self.classes,
            tuple(self.keys[index] for index in indices),
        )

    @property
    def class_counts(self) -> IntArray:
        """Number of images of each class, int64 [classes]."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    def require_all_classes(self) -> None:
        """Raise a MissingClassError when a class has no image: a network could not learn it."""
        counted = zip(self.classes, self.class_counts, strict=True)
        missing = [name for name, count in counted if count == 0]
        if missing:
            raise MissingClassError(
                f"class '{missing[0]}' has no image among the {len(self)} to train on "
                f"({len(missing)} such classes). Raise the ratio, or balance the classes"
            )

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
