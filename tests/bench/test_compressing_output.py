"""Compressing a user's folder: the files that are kept or made, and the place they go to."""

from __future__ import annotations

import csv
import io
import itertools
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compressions import (
    Brightest,
    Dreamt,
    Inverted,
    Last,
    ask,
    refusal,
    run,
    save,
    state,
    zipped,
)
from PIL import Image

from bench.choices import Link
from bench.compressing.output import Output
from bench.compressing.run import Settings, compress
from bench.compressing.source import find_images
from bench.errors import DataError, StorageError, UsageError
from reports.compression import report_files


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

    @pytest.mark.parametrize("link", [Link.COPY, Link.SYMBOLIC])
    def test_copies_and_symbolic_links(self, photos: Path, tmp_path: Path, link: Link) -> None:
        manifest, images = run(photos, tmp_path / "out", ask(Last()), link=link)
        assert manifest["written"] == {link: 4}
        kept = tmp_path / "out" / "cat" / "07.png"
        assert kept.is_symlink() == (link is Link.SYMBOLIC)
        assert kept.samefile(photos / "cat" / "07.png") == (link is Link.SYMBOLIC)
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
            assert "output of another command (last, 25 %, seed 0). Name" in text
        assert state(tmp_path) == before
        save(photos / "cat" / "08.png")
        text = refusal(UsageError, lambda: run(photos, tmp_path / out, ask(Brightest())))
        assert "another command (last, 25 %, seed 0) on other images. Name" in text

    def test_other_links_are_another_request(self, photos: Path, tmp_path: Path) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        assert "another command" in refusal(
            UsageError, lambda: run(photos, tmp_path / "out", ask(Last()), link=Link.COPY)
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
        assert "output of this command for images that have changed" in refusal(
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
        told = "is a file that is no output" if out.endswith(".zip") else "is not empty"
        assert told in refusal(UsageError, lambda: run(photos, place, ask(Last())))
        assert file.read_text() == "mine"
        assert not list(tmp_path.glob(".*"))

    def test_a_file_is_called_one(self, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        assert "is a file. Name a new" in refusal(
            UsageError, lambda: run(photos, tmp_path / "out", ask(Last()))
        )
        assert (tmp_path / "out").read_text() == "mine"

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
                lambda s=source, o=out: run(s, tmp_path / o, ask(Last()), link=Link.SYMBOLIC),
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
