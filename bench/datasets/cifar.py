"""CIFAR-10 and CIFAR-100 through torchvision, with its checksums."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.contract import ImageDataset
from bench.datasets.base import DATASETS, Dataset, Source, Splits
from bench.errors import DataError
from bench.storage import without_empty

_TRAINING = 50_000


def data_root(source: Source) -> Path:
    """Return the folder for downloaded data sets: ``--data``, $BENCH_DATA or the user's cache."""
    if source.path is not None:
        return source.path
    return Path(os.environ.get("BENCH_DATA") or Path.home() / ".cache" / "bench" / "data")


class _Cifar(Dataset):
    """What the two have in common."""

    torchvision_class: ClassVar[str]
    folder: ClassVar[str]
    archive: ClassVar[str]
    classes: ClassVar[int]

    def fingerprint(self, source: Source) -> str:
        """Return the checksum that torchvision demands of the archive."""
        return self.archive

    def side(self, source: Source) -> int:
        """Return 32."""
        return 32

    def training_counts(self, source: Source) -> dict[str, int]:
        """Return the published counts; every class has the same number of images."""
        return {f"class {label}": _TRAINING // self.classes for label in range(self.classes)}

    def training_keys(self, source: Source) -> tuple[str, ...]:
        """Return the official indices, without the archive."""
        return _keys(_TRAINING)

    def missing(self, source: Source) -> str:
        """Return that torchvision's folder is not there, where nothing fetches it."""
        root = data_root(source)
        if source.download or (root / self.folder).is_dir():
            return ""
        return _advice(self.name, root, source, f"there is no {self.folder}")

    def load(self, source: Source) -> Splits:
        """Load both splits; torchvision verifies the checksums."""
        root = data_root(source)
        return Splits(self._split(root, True, source), self._split(root, False, source))

    def _split(self, root: Path, train: bool, source: Source) -> ImageDataset:
        from torchvision import datasets

        family = getattr(datasets, self.torchvision_class)
        try:
            with without_empty(root):  # torchvision makes it before it asks the network
                split = family(str(root), train=train, download=source.download)
        except Exception as error:  # torchvision raises RuntimeError, OSError, URLError, ...
            raise DataError(_advice(self.name, root, source, error)) from error
        return ImageDataset(
            images=np.ascontiguousarray(split.data),
            labels=np.asarray(split.targets, dtype=np.int64),
            classes=tuple(split.classes),
            keys=_keys(len(split.targets)),
        )


def _keys(count: int) -> tuple[str, ...]:
    """Return the keys of images in the archive's order: their official indices."""
    return tuple(f"{position:05d}" for position in range(count))


def _advice(name: str, root: Path, source: Source, error: Any) -> str:
    told = str(error) or type(error).__name__
    reason = told.splitlines()[0].partition(". ")[0].rstrip(".")  # without torchvision's own advice
    if source.download:
        return (
            f"{name} could not be fetched into {root}: {reason}. Without a network, copy "
            "torchvision's archive there by hand, then run again"
        )
    return (
        f"{name} is not whole in {root}: {reason}. "
        "Fetch it with --download, or name its folder with --data PATH"
    )


@DATASETS.register("cifar10")
@dataclass(frozen=True)
class Cifar10(_Cifar):
    """CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels (Krizhevsky 2009)."""

    about: ClassVar[str] = "CIFAR-10 through torchvision; --download fetches it"
    torchvision_class: ClassVar[str] = "CIFAR10"
    folder: ClassVar[str] = "cifar-10-batches-py"
    archive: ClassVar[str] = "md5-c58f30108f718f92721af3b95e74349a"
    classes: ClassVar[int] = 10


@DATASETS.register("cifar100")
@dataclass(frozen=True)
class Cifar100(_Cifar):
    """CIFAR-100: the same sizes in a hundred classes (Krizhevsky 2009)."""

    about: ClassVar[str] = "CIFAR-100 through torchvision; --download fetches it"
    torchvision_class: ClassVar[str] = "CIFAR100"
    folder: ClassVar[str] = "cifar-100-python"
    archive: ClassVar[str] = "md5-eb9058c3a382ffc7106e4002c42a8d85"
    classes: ClassVar[int] = 100
