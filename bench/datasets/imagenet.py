"""ImageNet-1K in its standard folders, decoded when it is looked at.

``train/WNID/FILE`` and ``val/WNID/FILE``, or ``val/FILE`` with the ground truth of the development
kit or of Kaggle beside it. A class's number is its place among the sorted WordNet ids, as in
torchvision and timm. Images are known by class and file name, never by their place in a list:
released code disagreed with itself there (docs/methods.md: lists sorted by text and by number).
"""

from __future__ import annotations

import csv
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np

from bench.components import Between
from bench.contract import ImageDataset
from bench.datasets.base import DATASETS, Dataset, Source, Splits
from bench.datasets.files import IMAGE_ENDINGS, Entry, Folder
from bench.datasets.lazy_images import LazyImages, answering_memory
from bench.errors import DataError
from bench.identity import digest

if TYPE_CHECKING:
    from bench.arrays import ByteArray

DEVKIT = "ILSVRC2012_devkit_t12"
_META, _TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
_TORCHVISION, _KAGGLE = "meta.bin", "LOC_val_solution.csv"
_KAGGLE_ABOVE = 3
"""Folders above Kaggle's ``ILSVRC/Data/CLS-LOC`` in which its table lies."""


@DATASETS.register("imagenet")
@dataclass(frozen=True)
class ImageNet(Dataset):
    """ImageNet-1K (ILSVRC 2012), or a part of its classes; images are read from their files.

    Protocols that cut crops from whole photos get these. All else, methods included, sees squares:
    the shorter side resized (bilinear, antialiased), the centre cut out.

    Parameters
    ----------
    size : int
        Side of images and crops in pixels.
    """

    about: ClassVar[str] = (
        "ImageNet-1K from its folders (--data DIR with train/ and val/), streamed"
    )

    size: Annotated[int, Between(8, 1024)] = 224

    def fingerprint(self, source: Source) -> str:
        """Return a digest of all file names, and of the size of the first file of every class.

        Notes
        -----
        A million sizes take minutes on a network file system; those of one file a class tell
        the original from a copy with smaller images.
        """
        root = _root(source)
        told = [
            [split, name, *files, (root / split / name / files[0]).stat().st_size]
            for split in ("train", "val")
            for name, files in _listing(root, split).items()
        ]
        return f"imagenet-{digest(told)}"

    def side(self, source: Source) -> int:
        """Return the size."""
        return self.size

    def training_counts(self, source: Source) -> dict[str, int]:
        """Return the number of training files by WordNet id."""
        listing = _listing(_root(source), "train")
        return {wnid: len(files) for wnid, files in listing.items()}

    def training_keys(self, source: Source) -> tuple[str, ...]:
        """Return the training files by WordNet id and name."""
        listing = _listing(_root(source), "train")
        return tuple(f"{wnid}/{name}" for wnid, files in listing.items() for name in files)

    def default_protocol(self, source: Source) -> str:
        """Return the recipe that was published for this data set."""
        return "imagenet"

    def load(self, source: Source) -> Splits:
        """List both splits; nothing is decoded."""
        root = _root(source)
        train, val = _listing(root, "train"), _listing(root, "val")
        if list(val) == [""]:
            val = _sorted_into_classes(val[""], root)
        return Splits(self._split(root, "train", train), self._split(root, "val", val))

    def _split(self, root: Path, split: str, listing: dict[str, list[str]]) -> ImageDataset:
        is_flat = bool(_listing(root, split).get(""))
        paths, labels, keys = [], [], []
        for label, (wnid, files) in enumerate(listing.items()):
            paths += [f"{split}/{name}" if is_flat else f"{split}/{wnid}/{name}" for name in files]
            labels += [label] * len(files)
            keys += [f"{wnid}/{name}" for name in files]
        lazy = LazyImages(
            Folder(root),
            _Files(paths),
            self.size,
            answering_memory(),
            is_draft=False,
            advice="Take fewer images at a time, or smaller ones: "
            "--dataset 'imagenet[size={size}]'",
        )
        return ImageDataset(
            images=cast("ByteArray", lazy),
            labels=np.array(labels, dtype=np.int64),
            classes=tuple(listing),
            keys=tuple(keys),
        )


class _Files(Sequence[Entry]):
    """Paths of a million files in little memory, which processes share."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = np.array([os.fsencode(path) for path in paths])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, position: Any) -> Any:
        path = os.fsdecode(self._paths[position].item())
        return Entry(PurePosixPath(path), 0)


def _root(source: Source) -> Path:
    default = os.environ.get("BENCH_DATA")
    root = source.path or (Path(default) / "imagenet" if default else None)
    if root is None or not (root / "train").is_dir() or not (root / "val").is_dir():
        found = "no folder was named" if root is None else f"{root} has not both"
        raise DataError(
            f"data set imagenet needs train/WNID/*.JPEG and val/: {found}. Name the folder with "
            "--data DIR; ImageNet has to be fetched by hand from image-net.org or Kaggle"
        )
    return root


@lru_cache(maxsize=4)
def _listing(root: Path, split: str) -> dict[str, list[str]]:
    """Return the image files of a split by class, all sorted; the class "" for a flat folder."""
    folder = root / split
    classes = sorted(one.name for one in os.scandir(folder) if one.is_dir() and one.name[0] != ".")
    found = {name: _images(folder / name) for name in classes}
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise DataError(
            f"class '{empty[0]}' has no image in {folder} (empty classes: {len(empty)}). "
            "Unpack its archive there, or remove the folder"
        )
    if not found:
        found = {"": _images(folder)} if split == "val" else {}
    if not any(found.values()):
        raise DataError(f"{folder} has no images. Unpack the archives: {split}/WNID/*.JPEG")
    return found


def _images(folder: Path) -> list[str]:
    endings = tuple(IMAGE_ENDINGS)
    names = (one.name for one in os.scandir(folder))
    return sorted(n for n in names if n.lower().endswith(endings) and not n.startswith("."))


def _sorted_into_classes(files: list[str], root: Path) -> dict[str, list[str]]:
    """Return the files of a flat folder by class."""
    truth = _truth(root, files)
    missing = [name for name in files if Path(name).stem not in truth]
    if missing:
        raise DataError(
            f"{root / 'val'}: the ground truth has no class for {missing[0]} (such files: "
            f"{len(missing)}). Fetch both again"
        )
    found: dict[str, list[str]] = {}
    for name in files:
        found.setdefault(truth[Path(name).stem], []).append(name)
    return dict(sorted(found.items()))


def _truth(root: Path, files: list[str]) -> dict[str, str]:
    """Return the WordNet id of each validation image, by the file's name without ending."""
    for folder in (root, *list(root.absolute().parents)[:_KAGGLE_ABOVE]):
        if (table := folder / _KAGGLE).is_file():
            with table.open(encoding="utf-8", newline="") as file:
                return {row[0]: row[1].split()[0] for row in list(csv.reader(file))[1:]}
    wnids = _truth_by_number(root)
    if wnids is None:
        raise DataError(
            f"{root / 'val'} has no class folders, and no ground truth lies in {root}. Put "
            f"{DEVKIT}.tar.gz (or torchvision's {_TORCHVISION}, or Kaggle's {_KAGGLE}) there"
        )
    numbers = {Path(name).stem: Path(name).stem.rpartition("_")[2] for name in files}
    wrong = [name for name, number in numbers.items() if not number.isdecimal()]
    if wrong:
        raise DataError(f"{root / 'val'}: {wrong[0]} is no name such as ILSVRC2012_val_00000001")
    places = {name: int(number) - 1 for name, number in numbers.items()}
    return {name: wnids[place] for name, place in places.items() if place < len(wnids)}


def _truth_by_number(root: Path) -> list[str] | None:
    """Return the WordNet ids of the validation images 1, 2, 3, ..., or None."""
    if (root / _TORCHVISION).is_file():
        import torch

        _, wnids = torch.load(root / _TORCHVISION, weights_only=True)
        return [str(wnid) for wnid in wnids]
    for meta, truth in _devkits(root):
        synsets = _synsets(meta)
        return [synsets[int(line)] for line in truth.decode().split()]
    return None


def _devkits(root: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the two files of the development kit, unpacked or not."""
    folder, archive = root / DEVKIT, root / f"{DEVKIT}.tar.gz"
    try:
        if folder.is_dir():
            yield (folder / _META).read_bytes(), (folder / _TRUTH).read_bytes()
        elif archive.is_file():
            with tarfile.open(archive) as packed:
                members = [packed.extractfile(f"{DEVKIT}/{name}") for name in (_META, _TRUTH)]
                meta, truth = (member.read() if member else b"" for member in members)
            yield meta, truth
    except (OSError, KeyError, tarfile.TarError) as error:
        place, reason = folder if folder.is_dir() else archive, str(error).splitlines()[0]
        raise DataError(f"{place} cannot be read: {reason.rstrip(':')}. Fetch it again") from None


def _synsets(meta: bytes) -> dict[int, str]:
    """Return the WordNet ids of the classes by ILSVRC2012_ID; groups of classes are left out."""
    from scipy.io import loadmat

    load: Any = loadmat
    rows = load(io.BytesIO(meta), squeeze_me=True)["synsets"]
    return {
        int(row["ILSVRC2012_ID"]): str(row["WNID"])
        for row in np.atleast_1d(rows)
        if int(row["num_children"]) == 0
    }
