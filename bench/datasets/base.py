"""What every data set offers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.components import Component
from bench.contract import ImageDataset
from bench.errors import DataError
from bench.feeding import BY_RULE, Feed, Stream
from bench.registry import Registry


@dataclass(frozen=True)
class Source:
    """Where a data set's files are on this machine; no part of any identity.

    Parameters
    ----------
    path : Path or None
        What ``--data`` names: a folder or a zip file.
    download : bool
        Whether missing files may be fetched.
    feed : Feed
        How images are to reach the networks: whether they stream, and by how many workers.
    """

    path: Path | None = None
    download: bool = False
    feed: Feed = BY_RULE

    @classmethod
    def of(
        cls,
        data: str | None,
        download: bool = False,
        stream: str = Stream.AUTO.value,
        workers: int | None = None,
    ) -> Source:
        """Return the source that files tell in these words."""
        path = None if data is None else Path(data)
        return cls(path, download, Feed(Stream(stream), workers))


@dataclass(frozen=True)
class Splits:
    """The training and the test split; they never share an image."""

    train: ImageDataset
    test: ImageDataset

    def __post_init__(self) -> None:
        if self.train.classes != self.test.classes:
            raise DataError(_class_mismatch(self.train.classes, self.test.classes))
        for split, name in ((self.train, "training"), (self.test, "test")):
            empty = [c for c, n in zip(split.classes, split.class_counts, strict=True) if n == 0]
            if empty:
                raise DataError(
                    f"class '{empty[0]}' has no image in the {name} split "
                    f"({len(empty)} such classes). Add images or remove the class from both splits"
                )
        if self.train.shape != self.test.shape:
            raise DataError(
                f"training images are {self.train.shape}, test images {self.test.shape} "
                "(height, width, channels). Give them one size, e.g. 'imagefolder[size=64]'"
            )


class Dataset(Component):
    """A data set by name."""

    about: ClassVar[str] = ""

    @abstractmethod
    def fingerprint(self, source: Source) -> str:
        """Return what tells this data set's content from another's, quickly."""

    @abstractmethod
    def side(self, source: Source) -> int:
        """Return the images' shorter side in pixels, without loading them."""

    @abstractmethod
    def training_counts(self, source: Source) -> dict[str, int]:
        """Return the number of training images by class, without loading them."""

    def training_keys(self, source: Source) -> tuple[str, ...]:
        """Return the keys of the training images, in the order of the split.

        By default the data set is loaded for them.
        """
        return self.load(source).train.keys

    def missing(self, source: Source) -> str:
        """Return why the images cannot be loaded, as far as that is seen at one look.

        It is empty where they can, and for a data set of which nothing is known without its files.
        """
        return ""

    @abstractmethod
    def load(self, source: Source) -> Splits:
        """Load both splits; raise a DataError that says what is missing or broken."""

    def default_protocol(self, source: Source) -> str:
        """Return the protocol that suits the images' size."""
        return "smoke" if self.side(source) <= 16 else "cpu"


DATASETS: Registry[Dataset] = Registry("dataset", Dataset)


def _class_mismatch(train: tuple[str, ...], test: tuple[str, ...]) -> str:
    only_train = sorted(set(train) - set(test))
    only_test = sorted(set(test) - set(train))
    told = [
        f"{len(names)} only in {split} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, split in ((only_train, "train"), (only_test, "test"))
        if names
    ]
    return f"the splits' classes differ: {'; '.join(told)}. Give both splits the same class folders"
