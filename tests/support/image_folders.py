"""Image folders for tests: written, packed, loaded, refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.datasets import DATASETS, Dataset, Source, Splits
from bench.errors import DataError

Write = Callable[..., Path]


def imagefolder(place: Path | None, spec: str = "imagefolder") -> tuple[Dataset, Source]:
    return DATASETS.make_one(spec), Source(place)


def loaded(place: Path | None, spec: str = "imagefolder") -> Splits:
    dataset, source = imagefolder(place, spec)
    return dataset.load(source)


def fingerprint(place: Path) -> str:
    dataset, source = imagefolder(place)
    return dataset.fingerprint(source)


def refusal(place: Path | None, spec: str = "imagefolder") -> str:
    with pytest.raises(DataError) as caught:
        loaded(place, spec)
    text = str(caught.value)
    assert "\n" not in text
    return text


def zipped(
    folder: Path, prefix: str = "", packing: int = zipfile.ZIP_DEFLATED, backwards: bool = False
) -> Path:
    place = folder.with_name(f"{folder.name}-{prefix.count('/')}.zip")
    files = sorted((f for f in folder.rglob("*") if f.is_file()), reverse=backwards)
    with zipfile.ZipFile(place, "w", packing) as archive:
        for file in files:
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return place


def save(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 7).save(path)
    return path


def assert_equal(one: Splits, other: Splits) -> None:
    for a, b in ((one.train, other.train), (one.test, other.test)):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert a.keys == b.keys
        assert a.classes == b.classes
