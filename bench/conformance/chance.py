"""What a random draw would keep: the yardstick where labels are shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.conformance.trials import Trial
    from bench.contract import ImageDataset


@dataclass(frozen=True)
class RightLabels:
    """How many images carry their true class, among all and among those kept."""

    images: int
    right: int
    kept: int
    right_kept: int

    @property
    def expected(self) -> float:
        """How many of a random draw of this size do."""
        return self.kept * self.right / self.images

    @property
    def chance(self) -> float:
        """Two-sided probability that a random draw is at least this far from what is expected.

        The number with their true class is then hypergeometric.
        """
        wrong = self.images - self.right
        ways = [comb(self.right, k) * comb(wrong, self.kept - k) for k in range(self.kept + 1)]
        below, above = sum(ways[: self.right_kept + 1]), sum(ways[self.right_kept :])
        return min(1.0, 2 * min(below, above) / comb(self.images, self.kept))


def right_labels(trial: Trial, truth: ImageDataset) -> RightLabels:
    """Count the images of a trial whose label is that of the same image in the true data.

    A synthetic image counts for the class whose true mean image it is nearest to.
    """
    of_key = dict(zip(truth.keys, truth.labels.tolist(), strict=True))
    true = np.array([of_key[key] for key in trial.train.keys])
    kept = trial.kept
    kept_true = true[kept.indices] if kept.labels is None else _nearest_class(trial, truth)
    given = kept.training_set(trial.train).labels
    return RightLabels(
        images=len(true),
        right=int((true == trial.train.labels).sum()),
        kept=len(given),
        right_kept=int((kept_true == given).sum()),
    )


def _nearest_class(trial: Trial, truth: ImageDataset) -> IntArray:
    images = np.asarray(trial.kept.images, dtype=np.float64).reshape(len(trial.kept), -1)
    pixels = np.asarray(truth.images, dtype=np.float64).reshape(len(truth), -1)
    means = [pixels[truth.labels == label].mean(axis=0) for label in range(len(truth.classes))]
    distances = [((images - mean) ** 2).sum(axis=1) for mean in means]
    nearest: IntArray = np.argmin(distances, axis=0)
    return nearest
