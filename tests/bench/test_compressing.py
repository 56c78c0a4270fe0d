"""Compressing a user's folder: wrong methods, broken files, images that stream, the report."""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compressions import (
    INFO,
    Brightest,
    Failing,
    Greedy,
    Last,
    ask,
    refusal,
    run,
    save,
    zipped,
)
from PIL import Image

from bench.choices import Link
from bench.contract import METHODS
from bench.errors import BenchError, DataError, UsageError
from bench.storage import read_json, write_json


class TestWrongMethods:
    def test_a_failing_method_is_told_in_one_line_and_nothing_written(
        self, photos: Path, tmp_path: Path
    ) -> None:
        text = refusal(BenchError, lambda: run(photos, tmp_path / "out", ask(Failing())))
        assert text == "failing failed: RuntimeError: no luck"
        assert {path.name for path in tmp_path.iterdir()} == {"photos"}

    def test_one_that_fails_while_it_is_asked_is_told_so(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: Last, keys: object) -> None:
            raise ValueError("no file\nhere")

        monkeypatch.setattr(Last, "refuse_unready", fail)
        text = refusal(UsageError, lambda: run(photos, tmp_path / "out", ask(Last())))
        assert text.startswith("last: refuse_unready() failed (ValueError: no file); ")

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
        assert "pretrained network ('greedy[extractor=timm[" in text
        never = METHODS.make_one("dm")
        text = refusal(
            UsageError, lambda: run(photos, tmp_path / "out", ask(never), memory=self.BLOCK)
        )
        assert "more --memory" in text
        assert "pretrained" not in text
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


class TestReplacedImages:
    """An image gives its place to another one of the same name and number of bytes."""

    @pytest.fixture
    def places(self, tmp_path: Path) -> dict[str, Path]:
        """Give the same growing brightness in a folder and in a zip file."""
        for number in range(8):
            save(tmp_path / "photos" / "cat" / f"{number}.bmp", 10 * number)
        (tmp_path / "photos" / "dog").mkdir()
        shutil.copy(tmp_path / "photos" / "cat" / "3.bmp", tmp_path / "photos" / "dog")
        archive = zipped(tmp_path / "photos", tmp_path / "photos.zip")
        return {"folder": tmp_path / "photos", "zip": archive}

    def replace(self, place: Path) -> None:
        """Make the darkest cat the brightest one."""
        folder = place.with_suffix("")
        before = (folder / "cat" / "0.bmp").stat()
        assert save(folder / "cat" / "0.bmp", 255).stat().st_size == before.st_size
        if place.suffix == ".zip":
            os.utime(folder / "cat" / "0.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
            zipped(folder, place)

    @pytest.mark.parametrize("kind", ["folder", "zip"])
    @pytest.mark.parametrize("memory", [None, 4 * 8 * 8 * 3])
    def test_no_intermediate_of_the_old_one_is_used(self, places, tmp_path, kind, memory) -> None:
        place, asked = places[kind], ask(Brightest())
        given = {
            "keep_work": True,
            "memory": memory,
            "allow_empty_classes": True,
            "link": Link.COPY,
        }
        for out, brightest in (("first", "7"), ("again", "7"), ("second", "0")):
            if out == "second":
                self.replace(place)
            _, kept = run(place, tmp_path / "out", asked, **given)
            assert f"cat/{brightest}.bmp" in kept, out
            shutil.rmtree(tmp_path / "out")
        made = list((tmp_path / ".out.bench-work" / "artefacts").glob("compressed-*"))
        assert len(made) == 2

    @pytest.mark.parametrize("kind", ["folder", "zip"])
    def test_a_finished_output_is_not_taken_for_that_of_the_new_one(
        self, places, tmp_path, kind
    ) -> None:
        place, asked = places[kind], ask(Brightest())
        given = {"allow_empty_classes": True, "link": Link.COPY}
        first, kept = run(place, tmp_path / "out", asked, **given)
        assert run(place, tmp_path / "out", asked, **given) == (first, kept)
        self.replace(place)
        text = refusal(UsageError, lambda: run(place, tmp_path / "out", asked, **given))
        assert "this command for images that have changed" in text
        shutil.rmtree(tmp_path / "out")
        assert "cat/0.bmp" in run(place, tmp_path / "out", asked, **given)[1]


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

    def test_a_reconstruction_is_called_one(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Last, "info", replace(INFO, reconstruction=True))
        run(photos, tmp_path / "out", ask(Last()))
        text = (tmp_path / "out" / "report.md").read_text()
        assert "asked: `last (reconstruction), 25 %, seed 0`" in text
        assert "method: `fake, a reconstruction (none)`" in text

    def test_the_picture_shows_kept_images_class_by_class(
        self, photos: Path, tmp_path: Path
    ) -> None:
        run(photos, tmp_path / "out", ask(Last()))
        with Image.open(tmp_path / "out" / "report.jpg") as picture:
            grey = np.asarray(picture.convert("L")).astype(int)

        def is_inside(x: int) -> bool:
            near = grey[32, x - 28 : x + 28]
            return bool(near.max() < 200 and np.ptp(near) < 8)  # no white and no letters

        first = next(x for x in range(28, grey.shape[1] - 28) if is_inside(x))
        rows = (32, 32 + 68)
        shown = [[grey[row, first + 68 * column] for column in range(2)] for row in rows]
        np.testing.assert_allclose(shown, [[75, 65], [130, 140]], atol=3)
