"""Methods to compress a user's folder with, and what calls them and looks at the outcome."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from bench.budgets import Budget
from bench.compressing.output import Output
from bench.compressing.request import ByIndices, ByMethod
from bench.compressing.run import Settings, compress
from bench.compressing.source import find_images
from bench.contract import CompressedSet, Keeps, Method, MethodInfo
from bench.errors import BenchError
from bench.models import NamesModel
from reports.compression import report_files

INFO = MethodInfo(title="fake", paper="none", year=2025, kind="selection", code="none")


class Fake(Method):
    """Base of the methods here, with the images and artefacts that they saw."""

    info: ClassVar[MethodInfo] = INFO

    def kept(self, train: Any, budget: Any) -> np.ndarray:
        """Return the last images of each class, the last of all first."""
        counts = budget.images_by_class(train.class_counts)
        members = [np.flatnonzero(train.labels == label)[::-1] for label in range(len(counts))]
        return np.concatenate([m[:c] for m, c in zip(members, counts, strict=True)])


@dataclass(frozen=True)
class Last(Fake):
    name: ClassVar[str] = "last"

    def compress(self, train: Any, budget: Any, ctx: Any) -> CompressedSet:
        return CompressedSet(self.kept(train, budget))


@dataclass(frozen=True)
class Brightest(Fake):
    """Keeps the brightest images of each class; looks at them block by block."""

    name: ClassVar[str] = "brightest"
    blocks: ClassVar[list[Any]] = []

    def compress(self, train: Any, budget: Any, ctx: Any) -> CompressedSet:
        self.blocks.append(type(train.images).__name__)
        light = np.concatenate(
            [train.images[i : i + 4].mean((1, 2, 3)) for i in range(0, len(train), 4)]
        )
        counts = budget.images_by_class(train.class_counts)
        kept = []
        for label, count in enumerate(counts):
            members = np.flatnonzero(train.labels == label)
            kept.append(members[np.argsort(-light[members], kind="stable")[:count]])
        return CompressedSet(np.concatenate(kept))


@dataclass(frozen=True)
class Inverted(Fake):
    name: ClassVar[str] = "inverted"

    def compress(self, train: Any, budget: Any, ctx: Any) -> CompressedSet:
        kept = self.kept(train, budget)
        return CompressedSet(kept, images=255 - train.images[kept])


@dataclass(frozen=True)
class Dreamt(Fake):
    name: ClassVar[str] = "dreamt"

    def compress(self, train: Any, budget: Any, ctx: Any) -> CompressedSet:
        counts = budget.images_by_class(train.class_counts)
        labels = np.repeat(np.arange(len(counts)), counts)
        images = np.full((len(labels), *train.shape), 300.0, dtype=np.float32)
        images[0] = -3.0
        images[1] = 99.6
        return CompressedSet(np.empty(0, dtype=np.int64), images=images, labels=labels)


@dataclass(frozen=True)
class Failing(Fake):
    name: ClassVar[str] = "failing"

    def compress(self, train: Any, budget: Any, ctx: Any) -> CompressedSet:
        raise RuntimeError("no luck\ntoday")


@dataclass(frozen=True)
class Greedy(Fake):
    """Asks for all images at once."""

    name: ClassVar[str] = "greedy"
    extractor: Annotated[str, NamesModel()] = "resnet8"
    extractor_epochs: int = 0

    @property
    def keeps(self) -> Keeps:
        return Keeps.ITS_OWN_COUNT

    def compress(self, train: Any, budget: Any, ctx: Any) -> CompressedSet:
        return CompressedSet(np.flatnonzero(np.asarray(train.images).mean((1, 2, 3)) > 0))


Write = Callable[..., Path]


def save(path: Path, value: int = 7, size: tuple[int, int] = (8, 8), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path, **options)
    return path


def ask(method: Method, ratio: str = "25", **options: Any) -> ByMethod:
    given: dict[str, Any] = {"seed": 0, "size": 8, "skip_broken": False, **options}
    return ByMethod(method=method, budget=Budget.parse(ratio), **given)


def run(
    place: Path, out: Path, asked: ByMethod | ByIndices, **settings: Any
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Compress; return the manifest and the output's image files by path."""
    output = Output(out)
    manifest = compress(find_images(place), asked, output, Settings(**settings), report_files)
    return manifest, images_in(out)


def images_in(out: Path) -> dict[str, bytes]:
    ours = {"kept.csv", "kept.npy", "compression.json", "report.md", "report.jpg"}
    if out.is_dir():
        files = [file for file in out.rglob("*") if file.is_file()]
        found = {file.relative_to(out).as_posix(): file.read_bytes() for file in files}
    else:
        with zipfile.ZipFile(out) as archive:
            assert archive.testzip() is None
            found = {name: archive.read(name) for name in archive.namelist()}
    assert ours <= found.keys()
    return {name: content for name, content in found.items() if name not in ours}


def refusal(kind: type[BenchError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def state(root: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    folders = [path for path in root.rglob("*") if path.is_dir()]
    told = {str(f): (f.read_bytes(), f.stat().st_mtime_ns) for f in files}
    return told | {str(f): (b"", f.stat().st_mtime_ns) for f in folders}


def zipped(folder: Path, place: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(place, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return place
