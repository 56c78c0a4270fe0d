"""scikit-learn's handwritten digits: real images that need no download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.contract import ImageDataset
from bench.datasets.base import DATASETS, Dataset, Source, Splits
from bench.errors import DataError

_SPLIT_SEED = 0
_TEST_SHARE = 0.2
_TRAINING_COUNTS = (142, 146, 142, 146, 145, 145, 145, 143, 139, 144)


@DATASETS.register("digits")
@dataclass(frozen=True)
class Digits(Dataset):
    """1,797 grey images of 8x8 pixels in ten classes; a stratified fifth is the test split.

    Source: ``sklearn.datasets.load_digits``, the test part of UCI's optical recognition of
    handwritten digits (Alpaydin and Kaynak 1998). Grey levels 0 to 16 are scaled to 0 to 255.
    """

    about: ClassVar[str] = "1,797 real 8x8 digits, ships with scikit-learn; the default"

    def fingerprint(self, source: Source) -> str:
        """Return a constant: the data ships with scikit-learn and has never changed."""
        if source.path is not None:
            raise DataError(
                f"data set digits ships with scikit-learn and takes no --data ({source.path}). "
                "Leave it out, or name another data set, e.g. --dataset imagefolder"
            )
        return "sklearn-digits-1797"

    def side(self, source: Source) -> int:
        """Return 8."""
        return 8

    def training_counts(self, source: Source) -> dict[str, int]:
        """Return the counts of the fixed split, without scikit-learn's seconds of import."""
        return {str(digit): count for digit, count in enumerate(_TRAINING_COUNTS)}

    def load(self, source: Source) -> Splits:
        """Load and split the digits."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        grey, labels = load_digits(return_X_y=True)
        images = np.round(grey * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        positions = np.arange(len(labels))
        train, test = train_test_split(
            positions, test_size=_TEST_SHARE, random_state=_SPLIT_SEED, stratify=labels
        )
        return Splits(*(_part(images, labels, np.sort(part)) for part in (train, test)))


def _part(images: np.ndarray, labels: np.ndarray, positions: np.ndarray) -> ImageDataset:
    return ImageDataset(
        images=images[positions],
        labels=labels[positions].astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        keys=tuple(f"{position:05d}" for position in positions),
    )
