"""Compressing a user's folder: which images are found, and what is told of the others."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from compressions import (
    Last,
    ask,
    refusal,
    run,
    save,
    zipped,
)

from bench.compressing.source import find_images
from bench.errors import DataError


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
        assert files.fingerprint == find_images(zipped(photos, tmp_path / "q.zip")).fingerprint

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
        assert find_images(tmp_path).default_size(160) == 160
        assert find_images(tmp_path).default_size(224) == 170
