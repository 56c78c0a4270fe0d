"""What is said of image folders and zip files that cannot be used."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from image_folders import Write, loaded, refusal, save, zipped

from bench.datasets import DATASETS, Source
from bench.errors import DataError


class TestBrokenImageFolders:
    def test_without_data_the_option_is_named(self) -> None:
        assert "--data PATH" in refusal(None)

    def test_a_missing_path_is_named(self, tmp_path: Path) -> None:
        text = refusal(tmp_path / "nowhere")
        assert str(tmp_path / "nowhere") in text
        assert "does not exist" in text
        assert "--data" in text

    def test_a_file_that_is_no_zip_is_named(self, tmp_path: Path) -> None:
        place = tmp_path / "images.zip"
        place.write_text("this is no archive")
        text = refusal(place)
        assert str(place) in text
        assert "not a zip file" in text
        assert "Copy it again" in text

    def test_an_empty_file_is_no_zip(self, tmp_path: Path) -> None:
        place = tmp_path / "images.zip"
        place.touch()
        assert "Copy it again" in refusal(place)

    def test_a_truncated_zip_is_named(self, image_folder: Write) -> None:
        place = zipped(image_folder())
        place.write_bytes(place.read_bytes()[:-100])
        text = refusal(place)
        assert str(place) in text
        assert "Copy it again" in text

    @pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_a_damaged_member_of_a_zip_is_named(self, image_folder: Write, packing: int) -> None:
        root = image_folder()
        place = zipped(root, packing=packing)
        with zipfile.ZipFile(place) as archive:
            member = archive.getinfo("train/dog/003.png")
        content = bytearray(place.read_bytes())
        start = member.header_offset + 30 + len(member.filename)
        content[start : start + 20] = b"\xff" * 20
        place.write_bytes(content)
        text = refusal(place)
        assert str(place) in text
        assert "train/dog/003.png" in text
        assert "Copy it again" in text

    def test_an_encrypted_member_of_a_zip_is_named(self, image_folder: Write) -> None:
        place = zipped(image_folder())
        content = bytearray(place.read_bytes())
        content[6] |= 1  # the first local header's flag, and that of its directory entry
        content[content.index(b"PK\x01\x02") + 8] |= 1
        place.write_bytes(content)
        text = refusal(place)
        assert "encrypted" in text
        assert "unpack it" in text

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_truncated_image_is_named(self, image_folder: Write, packed: bool) -> None:
        root = image_folder(size=32)
        broken = root / "train" / "dog" / "002.png"
        broken.write_bytes(broken.read_bytes()[:200])
        place = zipped(root) if packed else root
        text = refusal(place)
        assert str(place) in text
        assert "train/dog/002.png" in text
        assert "Repair or remove it" in text

    @pytest.mark.parametrize("content", [b"just text\n", b""])
    def test_a_text_file_named_png_is_named(self, image_folder: Write, content: bytes) -> None:
        root = image_folder()
        (root / "test" / "cat" / "zzz.png").write_bytes(content)
        text = refusal(root)
        assert "test/cat/zzz.png" in text
        assert "Repair or remove it" in text

    def test_an_image_of_32_bit_pixels_is_named(self, image_folder: Write) -> None:
        root = image_folder()
        save(root / "train" / "cat" / "zzz.tif", mode="F")
        text = refusal(root)
        assert "train/cat/zzz.tif" in text
        assert "32 bits" in text

    def test_a_link_to_nothing_is_named(self, image_folder: Write) -> None:
        root = image_folder()
        (root / "train" / "cat" / "gone.png").symlink_to(root / "nowhere.png")
        text = refusal(root)
        assert "train/cat/gone.png" in text
        assert "Repair or remove it" in text

    def test_an_image_of_another_size_is_named_with_both_sizes(self, image_folder: Write) -> None:
        root = image_folder(size=8)
        save(root / "train" / "dog" / "002.png", (10, 8))
        text = refusal(root)
        assert "train/dog/002.png is 10x8" in text
        assert "train/cat/000.png is 8x8" in text
        assert "imagefolder[size=" in text

    def test_splits_of_different_sizes_are_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "train" / "cat" / "0.png", (8, 8))
        save(tmp_path / "test" / "cat" / "0.png", (9, 9))
        text = refusal(tmp_path)
        assert "(8, 8, 3)" in text
        assert "(9, 9, 3)" in text
        assert "imagefolder[size=" in text

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_a_class_without_images_in_a_split_is_named(
        self, image_folder: Write, split: str
    ) -> None:
        root = image_folder()
        for image in (root / split / "dog").iterdir():
            image.unlink()
        assert f"class 'dog' has no image in {split}/" in refusal(root)

    def test_different_classes_are_listed(self, image_folder: Write) -> None:
        root = image_folder(classes=("a", "b", "c", "d", "e"))
        (root / "test" / "a").rename(root / "test" / "x")
        text = refusal(root)
        assert "1 only in train (a)" in text
        assert "1 only in test (x)" in text

    @pytest.mark.parametrize("packed", [False, True])
    def test_without_a_test_split_it_says_what_to_add(
        self, image_folder: Write, packed: bool
    ) -> None:
        root = image_folder()
        shutil.rmtree(root / "test")
        place = zipped(root) if packed else root
        text = refusal(place)
        assert str(place) in text
        assert "test/" in text
        assert "val/" in text

    def test_without_a_training_split_the_layout_is_told(self, image_folder: Write) -> None:
        root = image_folder()
        shutil.rmtree(root / "train")
        text = refusal(root)
        assert str(root) in text
        assert "train/CLASS/IMAGE" in text

    def test_two_training_splits_are_refused(self, image_folder: Write, tmp_path: Path) -> None:
        root = image_folder()
        shutil.copytree(root, tmp_path / "both" / "one")
        shutil.copytree(root, tmp_path / "both" / "two")
        assert "2 folders named train" in refusal(tmp_path / "both")

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        assert "train/CLASS/IMAGE" in refusal(tmp_path)

    def test_too_much_for_the_memory_is_refused_before_it_is_full(
        self, image_folder: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = image_folder(train=100, size=16)
        pages = {"SC_PHYS_PAGES": 20, "SC_PAGE_SIZE": 4096}
        monkeypatch.setattr(os, "sysconf", pages.__getitem__)
        text = refusal(root)
        assert str(root) in text
        assert "200 images of 16x16" in text
        assert "imagefolder[size=" in text
        assert len(loaded(root, "imagefolder[size=4]").train) == 200


@pytest.mark.parametrize("packed", [False, True])
def test_a_class_folder_without_images_in_both_splits_is_told(image_folder, tmp_path, packed):
    root = image_folder()
    for split in ("train", "test"):
        (root / split / "owl").mkdir()
    if packed:
        root = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", root))
    with pytest.raises(DataError, match="class 'owl' has no image in train/"):
        DATASETS.make_one("imagefolder").load(Source(root))
