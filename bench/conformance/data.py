"""The kit's data: small images with class structure, and variants of them that break methods."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.contract import ImageDataset

CLASSES: tuple[str, ...] = ("ant", "bee", "cat", "dog")
COUNTS = (13, 29, 37, 42)
SIDE = 8
_NOISE = 45.0
_RARE = 1
"""The class that a variant empties; one in the middle, so that labels have a gap."""


def ordinary(needed_classes: int | None = None) -> ImageDataset:
    """Return 121 images of 8x8x3 in four uneven classes: a pattern a class, plus noise.

    The order of the keys mixes the classes, and a key ends with its class's name, as a file's
    path often does. Another number of classes, for a method that needs it, has as uneven ones.
    """
    names, counts = CLASSES, np.array(COUNTS)
    if needed_classes is not None:
        names = tuple(f"kind{number}" for number in range(needed_classes))
        counts = np.linspace(COUNTS[0], COUNTS[-1], needed_classes).astype(np.int64)
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    patterns = rng.uniform(60, 195, (len(counts), SIDE, SIDE, 3))
    noisy = patterns[labels] + rng.normal(0, _NOISE, (len(labels), SIDE, SIDE, 3))
    return ImageDataset(
        images=noisy.clip(0, 255).astype(np.uint8),
        labels=labels,
        classes=names,
        keys=tuple(f"{number:03d}-{names[label]}" for number, label in enumerate(labels)),
    )


def copied(data: ImageDataset) -> ImageDataset:
    """Return the data with arrays of its own, so that no run can spoil the next one's."""
    return replace(data, images=data.images.copy(), labels=data.labels.copy())


def permuted(data: ImageDataset) -> ImageDataset:
    """Return the same images, labels and keys in another order."""
    return data.subset(np.random.default_rng(1).permutation(len(data)))


def shuffled_labels(data: ImageDataset) -> ImageDataset:
    """Return the same images with the labels dealt anew; only the labels tell the class now."""
    return replace(data, labels=np.random.default_rng(2).permutation(data.labels))


def empty_class(data: ImageDataset) -> ImageDataset:
    """Return the data without the images of one class."""
    return data.subset(np.flatnonzero(data.labels != _RARE))


def single_image_class(data: ImageDataset) -> ImageDataset:
    """Return the data with one image left of one class."""
    is_left = data.labels != _RARE
    is_left[np.flatnonzero(~is_left)[0]] = True
    return data.subset(np.flatnonzero(is_left))


def identical_images(data: ImageDataset) -> ImageDataset:
    """Return the data with the same image everywhere."""
    return replace(data, images=data.images[np.zeros(len(data), dtype=np.int64)])


def grey_images(data: ImageDataset) -> ImageDataset:
    """Return the data with one channel."""
    return replace(data, images=data.images[..., :1].copy())
