"""Compressing a user's folder, step by step: finding, joining, looking, choosing, writing."""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.budgets import Budget
from bench.compressing.indices import join, read_indices
from bench.compressing.output import Output
from bench.compressing.request import ByIndices, ByMethod
from bench.compressing.run import Settings, compress
from bench.compressing.source import ImageFiles, find_images
from bench.contract import METHODS, CompressedSet, Keeps, Method, MethodInfo
from bench.errors import BenchError, DataError, StorageError, UsageError
from bench.models import NamesModel
from bench.storage import read_json, write_json
from reports.compression import report_files
from reports.overlap import common, containment, expected_overlap, jaccard, overlap_table

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


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Give cats of growing brightness and dogs of shrinking brightness, eight each."""
    root = tmp_path / "photos"
    for number in range(8):
        save(root / "cat" / f"{number:02d}.png", 10 * number + 5)
        save(root / "dog" / f"{number:02d}.png", 200 - 10 * number)
    return root


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


class TestFindingImages:
    def test_class_folders_at_the_top(self, photos: Path) -> None:
        files = find_images(photos)
        assert files.classes == ("cat", "dog")
        assert files.keys[:2] == ("cat/00.png", "cat/01.png")
        assert files.labels.tolist() == [0] * 8 + [1] * 8
        assert files.notes == ()

    def test_the_train_part_is_taken_and_the_rest_told(self, photos: Path, tmp_path: Path) -> None:
        root = tmp_path / "split"
        shutil.copytree(photos, root / "train")
        shutil.copytree(photos / "cat", root / "test" / "cat")
        files = find_images(root)
        assert [e.path.as_posix() for e in files.entries[:1]] == ["train/cat/00.png"]
        assert files.keys == find_images(photos).keys
        assert files.fingerprint == find_images(photos).fingerprint
        assert files.notes == ("8 images outside of train/ are left out.",)

    def test_deeper_images_belong_to_their_class(self, photos: Path) -> None:
        save(photos / "dog" / "puppies" / "train" / "00.png")
        files = find_images(photos)
        assert files.classes == ("cat", "dog")
        assert "dog/puppies/train/00.png" in files.keys

    @pytest.mark.parametrize("prefix", ["", "photos/", "a/b/"])
    def test_a_zip_is_the_same_at_any_depth(
        self, photos: Path, tmp_path: Path, prefix: str
    ) -> None:
        files = find_images(zipped(photos, tmp_path / "p.zip", prefix))
        assert files.keys == find_images(photos).keys
        assert files.fingerprint == find_images(photos).fingerprint

    def test_a_class_called_train_is_a_class(self, photos: Path) -> None:
        (photos / "dog").rename(photos / "train")
        save(photos / "train" / "old" / "steam.png")
        files = find_images(photos)
        assert files.classes == ("cat", "train")
        assert len(files) == 17

    def test_train_beside_class_folders_is_refused(self, photos: Path) -> None:
        save(photos / "train" / "old" / "steam.png")
        assert "beside other folders with images (cat, dog)" in refusal(
            DataError, lambda: find_images(photos)
        )

    def test_a_stray_image_in_train_does_not_make_it_a_class(self, tmp_path: Path) -> None:
        for split in ("train", "val"):
            save(tmp_path / split / "cat" / "0.png")
        save(tmp_path / "train" / "thumbnail.png")
        files = find_images(tmp_path)
        assert files.keys == ("cat/0.png",)
        assert files.notes == ("2 images outside of train/ are left out.",)

    def test_empty_classes_and_strays_are_told(self, photos: Path) -> None:
        (photos / "empty one").mkdir()
        (photos / "only text").mkdir()
        (photos / "only text" / "notes.txt").touch()
        save(photos / "stray.png")
        save(photos / "cat" / ".hidden.png")
        save(photos / ".thumbnails" / "00.png")
        files = find_images(photos)
        assert files.classes == ("cat", "dog")
        assert len(files) == 16
        assert files.notes == (
            "Class folders without an image, left out: empty one, only text.",
            "1 images outside of class folders are left out.",
        )

    @pytest.mark.parametrize(
        ("make", "told"),
        [
            (lambda root: root / "nowhere", "does not exist"),
            (lambda root: root, "holds no image. Lay it out as"),
            (lambda root: save(root / "a.png").parent, "none of them in a class folder"),
        ],
    )
    def test_nothing_to_compress_is_told(
        self, tmp_path: Path, make: Callable[[Path], Path], told: str
    ) -> None:
        place = make(tmp_path)
        assert told in refusal(DataError, lambda: find_images(place))

    def test_a_zip_with_absolute_paths_is_refused(self, photos: Path, tmp_path: Path) -> None:
        place = tmp_path / "p.zip"
        with zipfile.ZipFile(place, "w") as archive:
            archive.write(photos / "cat" / "00.png", "x")
            archive.filelist[0].filename = "/cat/00.png"
        assert "absolute paths" in refusal(DataError, lambda: find_images(place))

    def test_a_zip_with_paths_that_lead_up_writes_nothing_there(
        self, photos: Path, tmp_path: Path
    ) -> None:
        place = zipped(photos, tmp_path / "p.zip")
        with zipfile.ZipFile(place, "a") as archive:
            archive.writestr("../evil/00.png", (photos / "cat" / "00.png").read_bytes())
            archive.writestr("cat/../../evil.png", (photos / "cat" / "00.png").read_bytes())
        _, images = run(place, tmp_path / "deep" / "out", ask(Last(), "100"))
        assert len(images) == 16
        assert not list(tmp_path.rglob("evil*"))

    def test_the_default_size_is_the_images_own_up_to_64(self, tmp_path: Path) -> None:
        (tmp_path / "cat").mkdir()
        (tmp_path / "cat" / "0.png").write_bytes(b"broken")
        save(tmp_path / "cat" / "1.png", size=(20, 17))
        assert find_images(tmp_path).default_size() == 17
        save(tmp_path / "cat" / "1.png", size=(200, 170))
        assert find_images(tmp_path).default_size() == 64


class TestKeptFiles:
    def test_they_are_those_of_the_method_under_their_own_paths(
        self, photos: Path, tmp_path: Path
    ) -> None:
        before = state(photos)
        manifest, images = run(photos, tmp_path / "out", ask(Last()))
        assert images.keys() == {"cat/06.png", "cat/07.png", "dog/06.png", "dog/07.png"}
        for name, content in images.items():
            assert content == (photos / name).read_bytes()
            assert (photos / name).samefile(tmp_path / "out" / name)
        assert manifest["written"] == {"hard": 4}
        assert state(photos) == before

    def test_index_files_tell_position_and_rank(self, photos: Path, tmp_path: Path) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        rows = list(csv.DictReader((tmp_path / "out" / "kept.csv").open()))
        assert [row["file"] for row in rows] == [
            "cat/07.png", "cat/06.png", "dog/07.png", "dog/06.png",
        ]  # fmt: skip
        assert [int(row["rank"]) for row in rows] == [0, 1, 2, 3]
        positions = np.load(tmp_path / "out" / "kept.npy")
        assert positions.dtype == np.int64
        assert positions.tolist() == [int(row["position"]) for row in rows] == [7, 6, 15, 14]
        keys = find_images(photos).keys
        assert [keys[p] for p in positions] == [row["file"] for row in rows]

    @pytest.mark.parametrize("link", ["copy", "symbolic"])
    def test_copies_and_symbolic_links(self, photos: Path, tmp_path: Path, link: str) -> None:
        manifest, images = run(photos, tmp_path / "out", ask(Last()), link=link)
        assert manifest["written"] == {link: 4}
        kept = tmp_path / "out" / "cat" / "07.png"
        assert kept.is_symlink() == (link == "symbolic")
        assert kept.samefile(photos / "cat" / "07.png") == (link == "symbolic")
        assert images["cat/07.png"] == (photos / "cat" / "07.png").read_bytes()
        assert kept.stat().st_mtime_ns == (photos / "cat" / "07.png").stat().st_mtime_ns

    def test_where_hard_links_are_impossible_files_are_copied(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*paths: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
        manifest, images = run(photos, tmp_path / "out", ask(Last()))
        assert manifest["written"] == {"copy": 4}
        assert images["cat/07.png"] == (photos / "cat" / "07.png").read_bytes()

    def test_linked_input_files_are_kept_as_files(self, photos: Path, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        shutil.move(photos / "cat" / "07.png", elsewhere)
        (photos / "cat" / "07.png").symlink_to(elsewhere)
        _, images = run(photos, tmp_path / "out", ask(Last()))
        kept = tmp_path / "out" / "cat" / "07.png"
        assert not kept.is_symlink()
        assert images["cat/07.png"] == elsewhere.read_bytes()

    def test_odd_names_survive(self, tmp_path: Path) -> None:
        root = tmp_path / "photos"
        names = ['Katze 猫/été, "☀".png', "Katze 猫/0.png", "a|b/0.png", "a|b/new\nline.png"]
        for value, name in enumerate(names):
            save(root / name, value)
        for out in (tmp_path / "out", tmp_path / "out.zip"):
            _, images = run(root, out, ask(Last(), "100"))
            assert images == {name: (root / name).read_bytes() for name in names}
            listed = Output(out).read("kept.csv").decode()
            rows = list(csv.DictReader(io.StringIO(listed, newline="")))
            assert {row["file"] for row in rows} == set(names)
            assert Output(out).read("report.md").decode().count("Katze 猫") == 2

    def test_names_that_are_no_utf8_fit_a_folder_and_no_zip(self, tmp_path: Path) -> None:
        root = tmp_path / "photos"
        odd = save(root / "cat" / "0.png").rename(os.fsdecode(os.fsencode(root) + b"/cat/\xff.png"))
        _, images = run(root, tmp_path / "out", ask(Last(), "100"))
        assert list(images.values()) == [odd.read_bytes()]
        again, _ = run(root, tmp_path / "out", ask(Last(), "100"))
        assert again["images"]["after"] == 1
        text = refusal(DataError, lambda: run(root, tmp_path / "o.zip", ask(Last(), "100")))
        assert "not valid UTF-8" in text
        assert not (tmp_path / "o.zip").exists()

    def test_a_zip_output_has_the_same_files(self, photos: Path, tmp_path: Path) -> None:
        _, as_folder = run(photos, tmp_path / "out", ask(Last()))
        _, as_zip = run(photos, tmp_path / "out.zip", ask(Last()))
        assert as_folder == as_zip
        with zipfile.ZipFile(tmp_path / "out.zip") as archive:
            assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
            positions = np.load(io.BytesIO(archive.read("kept.npy")))
        assert positions.tolist() == [7, 6, 15, 14]

    @pytest.mark.parametrize("out", ["out", "out.zip"])
    def test_a_zip_input_keeps_the_same(self, photos: Path, tmp_path: Path, out: str) -> None:
        place = zipped(photos, tmp_path / "p.zip", "photos/")
        manifest, images = run(place, tmp_path / out, ask(Last()))
        _, expected = run(photos, tmp_path / "expected", ask(Last()))
        assert images == {f"photos/{name}": content for name, content in expected.items()}
        assert manifest["written"] == {"copy": 4}

    def test_the_output_can_be_compressed_again(self, photos: Path, tmp_path: Path) -> None:
        run(photos, tmp_path / "half", ask(Last(), "50"))
        _, images = run(tmp_path / "half", tmp_path / "quarter", ask(Last(), "50"))
        assert images.keys() == {"cat/06.png", "cat/07.png", "dog/06.png", "dog/07.png"}


class TestNewImages:
    def test_reconstructions_are_png_files_beside_where_the_originals_lay(
        self, photos: Path, tmp_path: Path
    ) -> None:
        save(photos / "cat" / "07.bmp", 200)
        manifest, images = run(photos, tmp_path / "out", ask(Inverted(), "100"))
        assert manifest["content"] == "reconstructed"
        assert "cat/07.png" in images
        assert len(images) == 17
        pictures = {name: Image.open(io.BytesIO(content)) for name, content in images.items()}
        assert all(picture.format == "PNG" for picture in pictures.values())
        assert {pictures[n].getpixel((0, 0)) for n in pictures if n.startswith("cat/07")} == {
            (180, 180, 180), (55, 55, 55),
        }  # fmt: skip
        assert np.load(tmp_path / "out" / "kept.npy").size == 17

    def test_synthetic_images_are_rounded_into_class_folders(
        self, photos: Path, tmp_path: Path
    ) -> None:
        manifest, images = run(photos, tmp_path / "out", ask(Dreamt()))
        assert manifest["content"] == "synthetic"
        levels = {
            name: Image.open(io.BytesIO(content)).getpixel((0, 0))
            for name, content in images.items()
        }
        assert levels == {
            "cat/synthetic-000000.png": (0, 0, 0),
            "cat/synthetic-000001.png": (100, 100, 100),
            "dog/synthetic-000002.png": (255, 255, 255),
            "dog/synthetic-000003.png": (255, 255, 255),
        }
        assert np.load(tmp_path / "out" / "kept.npy").size == 0
        again, _ = run(photos, tmp_path / "out", ask(Dreamt()))
        assert again == manifest


class TestOutputs:
    def test_a_finished_one_is_answered_without_work(self, photos: Path, tmp_path: Path) -> None:
        first, _ = run(photos, tmp_path / "out", ask(Last()))
        before = state(tmp_path)
        again = compress(
            find_images(photos), ask(Last()), Output(tmp_path / "out"),
            Settings(device="nonsense"), lambda *told: pytest.fail("a report was made"),
        )  # fmt: skip
        assert again == first
        assert state(tmp_path) == before

    def test_nothing_else_is_left_beside_it(self, photos: Path, tmp_path: Path) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        run(photos, tmp_path / "out.zip", ask(Last()))
        assert {path.name for path in tmp_path.iterdir()} == {"photos", "out", "out.zip"}
        run(photos, tmp_path / "kept", ask(Last()), keep_work=True)
        assert (tmp_path / ".kept.bench-work" / "artefacts").is_dir()

    @pytest.mark.parametrize("out", ["out", "out.zip"])
    def test_another_request_is_refused(self, photos: Path, tmp_path: Path, out: str) -> None:
        run(photos, tmp_path / out, ask(Last()))
        before = state(tmp_path)
        for other in (ask(Last(), "50"), ask(Brightest()), ask(Last(), seed=1)):
            text = refusal(UsageError, lambda asked=other: run(photos, tmp_path / out, asked))
            assert "output of another command (last, 25 %, seed 0)" in text
        assert state(tmp_path) == before

    def test_other_links_are_another_request(self, photos: Path, tmp_path: Path) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        assert "another command" in refusal(
            UsageError, lambda: run(photos, tmp_path / "out", ask(Last()), link="copy")
        )

    def test_what_a_killed_run_had_written_is_removed(self, photos: Path, tmp_path: Path) -> None:
        run(photos, tmp_path / "out", ask(Last()), keep_work=True)
        shutil.rmtree(tmp_path / "out")
        work = tmp_path / ".out.bench-work"
        save(work / "output-0123" / "cat" / "0.png")
        (work / "output-4567").write_text("half of a zip file")
        run(photos, tmp_path / "out", ask(Last()), keep_work=True)
        assert not list(work.glob("output-*"))

    def test_changed_images_are_noticed(self, photos: Path, tmp_path: Path) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        save(photos / "cat" / "08.png")
        assert "images have changed" in refusal(
            UsageError, lambda: run(photos, tmp_path / "out", ask(Last()))
        )

    def test_missing_files_of_a_finished_one_are_noticed(
        self, photos: Path, tmp_path: Path
    ) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        (tmp_path / "out" / "dog" / "07.png").unlink()
        assert "lacks 1 of its files, e.g. dog/07.png" in refusal(
            UsageError, lambda: run(photos, tmp_path / "out", ask(Last()))
        )

    @pytest.mark.parametrize("out", ["out", "out.zip"])
    def test_something_else_is_left_alone(self, photos: Path, tmp_path: Path, out: str) -> None:
        place = tmp_path / out
        file = place if out.endswith(".zip") else place / "thesis.tex"
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
        assert "is not empty" in refusal(UsageError, lambda: run(photos, place, ask(Last())))
        assert file.read_text() == "mine"
        assert not list(tmp_path.glob(".*"))

    def test_a_damaged_manifest_is_no_finished_output(self, photos: Path, tmp_path: Path) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        manifest = tmp_path / "out" / "compression.json"
        manifest.write_text(manifest.read_text().replace("last", "lost"))
        assert "is not empty" in refusal(
            UsageError, lambda: run(photos, tmp_path / "out", ask(Last()))
        )

    def test_an_empty_folder_is_filled(self, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        _, images = run(photos, tmp_path / "out", ask(Last()))
        assert len(images) == 4

    @pytest.mark.parametrize(
        "out", ["photos", "photos/out", "photos/cat/deep/out", "photos/out.zip", "link/out"]
    )
    def test_a_place_within_the_input_is_refused(
        self, photos: Path, tmp_path: Path, out: str
    ) -> None:
        (tmp_path / "link").symlink_to(photos)
        before = state(photos)
        text = refusal(UsageError, lambda: run(photos, tmp_path / out, ask(Last())))
        assert "lies within the images" in text
        assert state(photos) == before

    def test_a_place_within_a_linked_class_is_refused(self, photos: Path, tmp_path: Path) -> None:
        shutil.move(photos / "cat", tmp_path / "cats")
        (photos / "cat").symlink_to(tmp_path / "cats")
        assert "lies within" in refusal(
            UsageError, lambda: run(photos, tmp_path / "cats" / "out", ask(Last()))
        )

    def test_the_input_zip_itself_is_refused(self, photos: Path, tmp_path: Path) -> None:
        place = zipped(photos, tmp_path / "p.zip")
        before = place.read_bytes()
        assert "lies within" in refusal(UsageError, lambda: run(place, place, ask(Last())))
        assert place.read_bytes() == before

    def test_symbolic_links_need_folders(self, photos: Path, tmp_path: Path) -> None:
        place = zipped(photos, tmp_path / "p.zip")
        for source, out in ((place, "out"), (photos, "out.zip")):
            assert "--link symbolic needs a folder" in refusal(
                UsageError,
                lambda s=source, o=out: run(s, tmp_path / o, ask(Last()), link="symbolic"),
            )

    def test_a_class_in_the_way_of_our_files_is_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "photos" / "kept.csv" / "0.png")
        assert "kept.csv is in the way" in refusal(
            DataError, lambda: run(tmp_path / "photos", tmp_path / "out", ask(Last(), "100"))
        )

    def test_a_failed_write_leaves_nothing_at_the_place(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, count = os.link, itertools.count()

        def full(*paths: Any) -> None:
            if next(count) == 2:
                raise OSError(28, "No space left on device")
            real(*paths)

        monkeypatch.setattr(os, "link", full)
        text = refusal(StorageError, lambda: run(photos, tmp_path / "out", ask(Last())))
        assert "No space left" in text
        assert not (tmp_path / "out").exists()
        assert not list((tmp_path / ".out.bench-work").glob("output-*"))
        _, images = run(photos, tmp_path / "out", ask(Last()))
        assert len(images) == 4

    def test_one_process_at_a_time_works_on_an_output(self, photos: Path, tmp_path: Path) -> None:
        inner: list[str] = []

        def report(*told: Any) -> dict[str, bytes]:
            inner.append(refusal(UsageError, lambda: run(photos, tmp_path / "out", ask(Last()))))
            return report_files(*told)

        compress(find_images(photos), ask(Last()), Output(tmp_path / "out"), Settings(), report)
        assert "another process" in inner[0]


class TestWrongMethods:
    def test_a_failing_method_is_told_in_one_line_and_nothing_written(
        self, photos: Path, tmp_path: Path
    ) -> None:
        text = refusal(BenchError, lambda: run(photos, tmp_path / "out", ask(Failing())))
        assert text == "failing failed: RuntimeError: no luck"
        assert {path.name for path in tmp_path.iterdir()} == {"photos"}

    def test_an_empty_class_is_refused_unless_allowed(self, photos: Path, tmp_path: Path) -> None:
        save(photos / "newt" / "0.png")
        text = refusal(UsageError, lambda: run(photos, tmp_path / "out", ask(Last())))
        assert "ratio 25 leaves class 'newt' (1 images) empty" in text
        assert "Give at least 100" in text
        _, images = run(photos, tmp_path / "out", ask(Last()), allow_empty_classes=True)
        assert len(images) == 4


class TestBrokenFiles:
    @pytest.fixture
    def broken(self, photos: Path) -> Path:
        for number in range(5):
            file = photos / "cat" / f"{number:02d}.png"
            file.write_bytes(file.read_bytes()[:50])
        return photos

    @pytest.mark.parametrize("memory", [None, 600])
    def test_the_first_are_named_and_all_counted(
        self, broken: Path, tmp_path: Path, memory: int | None
    ) -> None:
        text = refusal(DataError, lambda: run(broken, tmp_path / "out", ask(Last()), memory=memory))
        assert "5 of 16 images cannot be read: cat/00.png (" in text
        assert "and 2 more" in text
        assert "--skip-broken" in text
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("memory", [None, 600])
    def test_it_goes_on_without_them(
        self, broken: Path, tmp_path: Path, memory: int | None
    ) -> None:
        asked = ask(Last(), "100", skip_broken=True)
        manifest, images = run(broken, tmp_path / "out", asked, memory=memory)
        assert len(images) == 11
        assert len(manifest["broken"]) == 5
        positions = np.load(tmp_path / "out" / "kept.npy")
        assert sorted(positions) == list(range(5, 16))  # positions count the broken ones too
        assert "could not be read, left out: 5" in (tmp_path / "out" / "report.md").read_text()

    def test_a_damaged_part_of_a_zip_counts_as_broken(self, photos: Path, tmp_path: Path) -> None:
        place = zipped(photos, tmp_path / "p.zip")
        content = bytearray(place.read_bytes())
        with zipfile.ZipFile(place) as archive:
            start = archive.getinfo("dog/07.png").header_offset + 60
        content[start : start + 4] = b"\0\1\2\3"
        place.write_bytes(content)
        text = refusal(DataError, lambda: run(place, tmp_path / "out", ask(Last())))
        assert "1 of 16 images cannot be read: dog/07.png (its bytes" in text
        _, images = run(place, tmp_path / "out", ask(Last(), skip_broken=True))
        assert images.keys() == {"cat/06.png", "cat/07.png", "dog/05.png", "dog/06.png"}

    def test_a_class_that_loses_all_its_images_is_told(self, photos: Path, tmp_path: Path) -> None:
        (save(photos / "ant" / "0.png")).write_bytes(b"")
        asked = ask(Last(), "50", skip_broken=True)
        manifest, images = run(photos, tmp_path / "out", asked)
        assert len(images) == 8
        assert {name.split("/")[0] for name in images} == {"cat", "dog"}
        assert manifest["notes"] == ["Classes of which no image could be read: ant."]

    def test_without_any_whole_image_it_ends(self, tmp_path: Path) -> None:
        save(tmp_path / "photos" / "cat" / "0.png").write_bytes(b"x")
        asked = ask(Last(), "100", skip_broken=True)
        assert "none of 1 images can be read" in refusal(
            DataError, lambda: run(tmp_path / "photos", tmp_path / "out", asked)
        )


class TestStreaming:
    BLOCK = 4 * 8 * 8 * 3

    def test_a_tiny_memory_gives_the_same_selection(self, photos: Path, tmp_path: Path) -> None:
        Brightest.blocks.clear()
        _, held = run(photos, tmp_path / "held", ask(Brightest()))
        _, streamed = run(photos, tmp_path / "streamed", ask(Brightest()), memory=self.BLOCK)
        assert Brightest.blocks == ["ndarray", "LazyImages"]
        assert streamed == held
        assert held.keys() == {"cat/06.png", "cat/07.png", "dog/00.png", "dog/01.png"}

    @pytest.mark.parametrize("asked", ["kcenter", "adq[bins=2]"])
    def test_a_method_that_looks_through_a_network_streams_too(
        self, tmp_path: Path, asked: str
    ) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (280, 8, 8, 3), dtype=np.uint8)
        for number, image in enumerate(pixels):
            place = tmp_path / "photos" / "ab"[number % 2] / f"{number:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place)
        network = {"extractor": "resnet8[width=4]", "extractor_epochs": 0}
        method = replace(METHODS.make_one(asked), **network)
        kept = [
            run(tmp_path / "photos", tmp_path / name, ask(method, "10"), memory=memory)[1].keys()
            for name, memory in (("held", None), ("streamed", 250 * 8 * 8 * 3))
        ]
        assert kept[0] == kept[1]
        assert len(kept[0]) == 28

    def test_asking_for_all_at_once_is_refused_with_a_way_out(
        self, photos: Path, tmp_path: Path
    ) -> None:
        text = refusal(
            DataError, lambda: run(photos, tmp_path / "out", ask(Greedy()), memory=self.BLOCK)
        )
        assert "16 images of 8 pixels are needed at once" in text
        assert "--size" in text

    def test_training_an_extractor_is_refused_before_anything_is_read(
        self, photos: Path, tmp_path: Path
    ) -> None:
        for file in photos.rglob("*.png"):
            file.write_bytes(b"never looked at")
        method = Greedy(extractor_epochs=10)
        text = refusal(
            UsageError, lambda: run(photos, tmp_path / "out", ask(method), memory=self.BLOCK)
        )
        assert "extractor=resnet8 is trained on them in memory" in text
        assert "pretrained extractor" in text
        untrained = Greedy()
        text = refusal(
            DataError, lambda: run(photos, tmp_path / "out", ask(untrained), memory=self.BLOCK)
        )
        assert "cannot be read" in text

    def test_files_are_checked_once(self, photos: Path, tmp_path: Path) -> None:
        asked = ask(Failing(), skip_broken=True)
        work = tmp_path / ".out.bench-work"
        (work / "artefacts").mkdir(parents=True)
        write_json(work / "bench-results.json", {"schema": 1, "id": "bench-results"})
        with pytest.raises(BenchError):
            run(photos, tmp_path / "out", asked, memory=self.BLOCK)
        checked = read_json(work / "checked.json")
        assert checked["broken"] == {}
        write_json(work / "checked.json", {**checked, "broken": {"15": "remembered"}})
        asked = ask(Last(), "100", skip_broken=True)
        manifest, _ = run(photos, tmp_path / "out", asked, memory=self.BLOCK)
        assert manifest["broken"] == ["dog/07.png (remembered)"]


class TestMadeImages:
    """They are written as the user's own files are, or without loss."""

    def made(self, place: Path, out: Path, is_lossless: bool = False) -> dict[str, Any]:
        manifest, _ = run(place, out, ask(Inverted(), "50", size=32, is_lossless=is_lossless))
        return manifest

    @pytest.fixture
    def jpegs(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        for name in ("cat", "dog"):
            for number in range(4):
                path = tmp_path / "jpegs" / name / f"{number}.JPG"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path, "JPEG", quality=40 + 10 * number)
        return tmp_path / "jpegs"

    def test_a_jpeg_is_followed_by_one_of_its_name_and_quality(self, jpegs, tmp_path):
        manifest = self.made(jpegs, tmp_path / "out")
        written = sorted((tmp_path / "out").rglob("*.JPG"))
        assert manifest["made"] == {"height": 32, "width": 32, "jpeg": 4, "png": 0}
        assert len(written) == 4
        for path in written:
            original = jpegs / path.relative_to(tmp_path / "out")
            with Image.open(path) as one, Image.open(original) as other:
                assert one.quantization == other.quantization
        assert manifest["bytes"]["after"] <= manifest["bytes"]["before"]

    def test_without_loss_they_are_png_and_the_bytes_are_told(self, jpegs, tmp_path):
        manifest = self.made(jpegs, tmp_path / "out", is_lossless=True)
        assert manifest["made"]["png"] == 4
        assert sorted((tmp_path / "out").rglob("*.JPG")) == []
        assert any("of the bytes" in note for note in manifest["notes"])

    def test_a_grey_jpeg_and_a_mislabelled_one_are_followed_too(self, tmp_path):
        for name, mode, form in (("a.jpg", "L", "JPEG"), ("b.jpg", "RGB", "PNG")):
            (tmp_path / "in" / "cat").mkdir(parents=True, exist_ok=True)
            Image.new(mode, (16, 16), 77 if mode == "L" else (9, 8, 7)).save(
                tmp_path / "in" / "cat" / name, form
            )
        manifest, _ = run(tmp_path / "in", tmp_path / "out", ask(Inverted(), "100", size=16))
        assert (manifest["made"]["jpeg"], manifest["made"]["png"]) == (1, 1)
        with Image.open(tmp_path / "out" / "cat" / "a.jpg") as image:
            assert image.size == (16, 16)

    def test_synthetic_images_follow_most_of_the_files(self, jpegs, tmp_path):
        manifest, _ = run(jpegs, tmp_path / "out", ask(Dreamt(), "50"))
        assert manifest["made"]["png"] == 0
        assert len(sorted((tmp_path / "out").rglob("synthetic-*.jpg"))) == 4


class TestIndices:
    def write(self, path: Path, content: Any) -> Path:
        if path.suffix == ".npy":
            np.save(path, content)
        else:
            path.write_text(content)
        return path

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.npy", np.array([4, 0, 11])),
            ("a.npy", np.array([4, 0, 11], dtype=np.uint16)),
            ("a.txt", "4\n0\n11\n"),
            ("a.txt", "4\r\n0\r\n\r\n11"),
            ("a.csv", "4\n0\n11\n"),
            ("a.csv", "index\n4\n0\n11\n"),
            ("a.csv", "chosen\n4\n0\n11\n"),
            ("a.csv", "file,class,position,rank\nx,c,4,0\ny,c,0,1\nz,c,11,2\n"),
        ],
    )
    def test_all_formats_give_the_same(self, tmp_path: Path, name: str, content: Any) -> None:
        indices = read_indices(self.write(tmp_path / name, content))
        assert indices.dtype == np.int64
        assert indices.tolist() == [4, 0, 11]

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("a.npy", np.array([0.5]), "not one array of whole numbers"),
            ("a.npy", np.zeros((2, 2), dtype=int), "not one array of whole numbers"),
            ("a.npy", np.array([{}], dtype=object), "is no index file"),
            ("a.npy", np.array([1, 2, 1]), "holds 1 twice"),
            ("a.npy", np.array([-1]), "holds the index -1"),
            ("a.npy", np.array([], dtype=int), "holds no index"),
            ("a.txt", "1\ntwo\n", "is no index file"),
            ("a.txt", "99999999999999999999", "is no index file"),
            ("a.csv", "a,b\n1,2\n", "none of its 2 columns"),
            ("a.csv", "position,b\n\n1,2\n3\n,4", "is no index file"),
            ("a.csv", "", "holds no index"),
        ],
    )
    def test_other_files_are_refused(
        self, tmp_path: Path, name: str, content: Any, told: str
    ) -> None:
        path = self.write(tmp_path / name, content)
        assert told in refusal(DataError, lambda: read_indices(path))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        assert "cannot read" in refusal(DataError, lambda: read_indices(tmp_path / "a.npy"))

    def numbered(self, root: Path, names: list[str]) -> ImageFiles:
        for name in names:
            save(root / name)
        return find_images(root)

    def test_numbers_in_names_are_the_default(self, tmp_path: Path) -> None:
        files = self.numbered(tmp_path, ["a/00029.png", "b/3.png", "a/1.png"])
        joined = join(np.array([3, 29, 4]), files)
        assert [files.keys[p] for p in joined.positions] == ["b/3.png", "a/00029.png"]
        assert joined.missing.tolist() == [4]

    @pytest.mark.parametrize("names", [["a/1.png", "b/01.png"], ["a/x1.png"], ["a/x.png"]])
    def test_what_is_ambiguous_is_refused(self, tmp_path: Path, names: list[str]) -> None:
        files = self.numbered(tmp_path, names)
        assert "--by position" in refusal(UsageError, lambda: join(np.array([0]), files))
        assert join(np.array([0]), files, "position").positions.tolist() == [0]

    def test_one_number_in_a_longer_name_must_be_asked_for(self, tmp_path: Path) -> None:
        files = self.numbered(tmp_path, ["a/img_07.png", "b/img_12.png"])
        assert join(np.array([12]), files, "name-number").positions.tolist() == [1]
        more = self.numbered(tmp_path, ["b/3_of_4.png"])
        assert "does not hold one number" in refusal(
            UsageError, lambda: join(np.array([12]), more, "name-number")
        )
        (tmp_path / "b" / "3_of_4.png").rename(tmp_path / "b" / "x7.png")
        same = find_images(tmp_path)
        assert "2 files have the number 7" in refusal(
            UsageError, lambda: join(np.array([12]), same, "name-number")
        )

    def asked(self, path: Path, **options: Any) -> ByIndices:
        given = {"by": None, "allow_missing": False, **options}
        return ByIndices(path=path, indices=read_indices(path), **given)

    def test_a_selection_is_made_again_from_its_own_index_file(
        self, photos: Path, tmp_path: Path
    ) -> None:
        _, images = run(photos, tmp_path / "out", ask(Last()))
        for name in ("kept.csv", "kept.npy"):
            asked = self.asked(tmp_path / "out" / name, by="position")
            manifest, again = run(photos, tmp_path / name.replace(".", "-"), asked)
            assert again == images
            assert manifest["notes"][0].startswith("4 of the 4 indices")
            kept = (tmp_path / name.replace(".", "-") / "kept.csv").read_text()
            assert kept == (tmp_path / "out" / "kept.csv").read_text()

    def test_missing_ones_are_counted_and_allowed_on_demand(
        self, photos: Path, tmp_path: Path
    ) -> None:
        path = self.write(tmp_path / "a.txt", "3\n99\n98\n")
        text = refusal(
            UsageError,
            lambda: run(photos, tmp_path / "out", self.asked(path, by="position")),
        )
        assert "1 of the 3 indices" in text
        assert "2 are missing, e.g. 99, 98" in text
        asked = self.asked(path, by="position", allow_missing=True)
        _, images = run(photos, tmp_path / "out", asked)
        assert images.keys() == {"cat/03.png"}

    def test_without_any_file_it_is_refused(self, photos: Path, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.txt", "99\n")
        asked = self.asked(path, by="position", allow_missing=True)
        assert "0 of the 1 indices" in refusal(
            UsageError, lambda: run(photos, tmp_path / "out", asked)
        )

    def test_the_released_selection_of_dq_on_real_images(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        path = shared_data / "dq_select_indices_CIFAR10_0.125.npy"
        if not path.is_file():
            pytest.skip("BENCH_DATA has no released index file")
        place = shared_data / "cifar10-mini.zip"
        released = np.load(path)
        text = refusal(UsageError, lambda: run(place, tmp_path / "out", self.asked(path)))
        _, images = run(place, tmp_path / "out", self.asked(path, allow_missing=True))
        names = {Path(name).name for name in images}
        with zipfile.ZipFile(place) as archive:
            present = {Path(n).stem for n in archive.namelist() if "/train/" in n}
        expected = {f"{index:05d}.jpg" for index in released if f"{index:05d}" in present}
        assert names == expected
        assert f"{len(released) - len(expected)} are missing" in text
        assert f"{len(expected)} of the {len(released)} indices" in text


class TestReport:
    def test_it_tells_what_was_asked_and_kept(self, photos: Path, tmp_path: Path) -> None:
        (photos / "empty").mkdir()
        manifest, images = run(photos, tmp_path / "out", ask(Last()))
        text = (tmp_path / "out" / "report.md").read_text()
        assert "asked: `last, 25 %, seed 0`" in text
        assert "| cat | 8 | 2 | 25.0 |" in text
        assert "| all | 16 | 4 | 25.0 |" in text
        assert "Class folders without an image, left out: empty." in text
        assert manifest["bytes"]["after"] == sum(map(len, images.values()))
        assert manifest["bytes"]["before"] == sum(f.stat().st_size for f in photos.rglob("*.png"))

    def test_the_picture_shows_kept_images_class_by_class(
        self, photos: Path, tmp_path: Path
    ) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        with Image.open(tmp_path / "out" / "report.jpg") as picture:
            grey = np.asarray(picture.convert("L")).astype(int)
        rows, first = (32, 32 + 68), 150 + 32
        shown = [[grey[row, first + 68 * column] for column in range(2)] for row in rows]
        np.testing.assert_allclose(shown, [[75, 65], [130, 140]], atol=3)


def counts_of(draw: np.ndarray, group: np.ndarray) -> np.ndarray:
    return np.bincount(group[draw], minlength=group.max() + 1)


class TestOverlap:
    @given(ours=st.sets(st.integers(0, 30)), theirs=st.sets(st.integers(0, 30)))
    def test_shares_are_those_of_sets(self, ours: set[int], theirs: set[int]) -> None:
        a, b = np.array(sorted(ours), dtype=int), np.array(sorted(theirs), dtype=int)
        assert common(a, b) == len(ours & theirs)
        union = len(ours | theirs)
        assert jaccard(a, b) == (len(ours & theirs) / union if union else 1)
        assert containment(a, b) == (len(ours & theirs) / len(ours) if ours else 1)

    def test_expected_is_the_mean_over_all_pairs_of_draws(self) -> None:
        group = np.array([0, 0, 0, 0, 1, 1, 1])
        ours, theirs = np.array([0, 1, 4]), np.array([1, 2, 3, 5, 6])
        draws = {
            name: [
                set(left + right)
                for left in itertools.combinations(range(4), counts_of(one, group)[0])
                for right in itertools.combinations(range(4, 7), counts_of(one, group)[1])
            ]
            for name, one in (("ours", ours), ("theirs", theirs))
        }
        sizes = [len(a & b) for a in draws["ours"] for b in draws["theirs"]]
        expected = expected_overlap(group, ours, theirs)
        assert math.isclose(expected.mean, np.mean(sizes))
        assert math.isclose(expected.deviation, np.std(sizes))

    def test_groups_of_one_and_unused_labels_are_fine(self) -> None:
        expected = expected_overlap([5, 9, 9], np.array([0]), np.array([0, 1]))
        assert expected == (1.0, 0.0)

    def test_the_table_has_a_row_a_pair(self) -> None:
        table = overlap_table(
            {"a": np.array([0, 1]), "b": np.array([1, 2]), "c": np.array([3])}, np.zeros(4, int)
        )
        assert [row["pair"] for row in table.rows] == ["a / b", "a / c", "b / c"]
        first = table.rows[0]
        assert (first["common"], first["jaccard"], first["ours_in_theirs"]) == (1, 1 / 3, 0.5)
        assert table.texts()[0][4] == "1.0 ± 0.6"
