"""Image folders: what is loaded from good ones, and what tells two apart."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_folders import Write, assert_equal, fingerprint, imagefolder, loaded, save, zipped
from PIL import Image

from bench.datasets import DATASETS, Source


class TestGoodImageFolders:
    def test_pixels_labels_and_keys_are_those_of_the_files(self, image_folder: Write) -> None:
        root = image_folder()
        train = loaded(root).train
        assert train.classes == ("cat", "dog")
        assert train.keys[:2] == ("cat/000.png", "cat/001.png")
        for pixels, label, key in zip(train.images, train.labels, train.keys, strict=True):
            np.testing.assert_array_equal(pixels, np.asarray(Image.open(root / "train" / key)))
            assert train.classes[label] == Path(key).parent.name

    @pytest.mark.parametrize("prefix", ["", "images/", "./", "a/b/images/"])
    @pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_a_zip_is_the_same_data_set_as_its_folder(
        self, image_folder: Write, prefix: str, packing: int
    ) -> None:
        root = image_folder()
        archive = zipped(root, prefix, packing, backwards=True)
        assert_equal(loaded(root), loaded(archive))
        assert fingerprint(root) == fingerprint(archive)

    def test_the_splits_may_lie_at_any_depth(self, image_folder: Write, tmp_path: Path) -> None:
        root = image_folder()
        deep = tmp_path / "a" / "b" / "c"
        shutil.copytree(root, deep)
        for place in (deep, deep.parent, tmp_path / "a"):
            assert_equal(loaded(root), loaded(place))
            assert fingerprint(root) == fingerprint(place)

    def test_the_test_split_may_be_called_val(self, image_folder: Write, tmp_path: Path) -> None:
        root = image_folder()
        renamed = shutil.copytree(root, tmp_path / "renamed")
        (renamed / "test").rename(renamed / "val")
        assert_equal(loaded(root), loaded(renamed))

    def test_of_test_and_val_the_test_split_is_taken(
        self, image_folder: Write, tmp_path: Path
    ) -> None:
        root = image_folder()
        both = shutil.copytree(root, tmp_path / "both")
        shutil.copytree(root / "train", both / "val")
        assert_equal(loaded(root), loaded(both))

    def test_classes_may_be_called_as_splits_are(self, image_folder: Write) -> None:
        splits = loaded(image_folder(classes=("test", "train", "val")))
        assert splits.train.classes == ("test", "train", "val")
        assert splits.train.class_counts.tolist() == [6, 6, 6]

    @pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK"])
    def test_every_colour_mode_becomes_rgb(self, tmp_path: Path, mode: str) -> None:
        ending = "tif" if mode == "CMYK" else "png"
        for split in ("train", "test"):
            picture = Image.linear_gradient("L").resize((8, 8)).convert(mode)
            place = tmp_path / split / "cat" / f"0.{ending}"
            place.parent.mkdir(parents=True)
            picture.save(place)
        train = loaded(tmp_path).train
        assert train.shape == (8, 8, 3)
        np.testing.assert_array_equal(train.images[0], np.asarray(picture.convert("RGB")))

    def test_grey_images_have_three_equal_channels(self, tmp_path: Path) -> None:
        for split in ("train", "test"):
            save(tmp_path / split / "cat" / "0.png", mode="L")
        images = loaded(tmp_path).train.images
        assert (images == 7).all()

    def test_of_16_bit_grey_levels_the_high_byte_counts(self, tmp_path: Path) -> None:
        levels = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
        for split in ("train", "test"):
            place = tmp_path / split / "cat"
            place.mkdir(parents=True)
            Image.fromarray(levels).save(place / "0.png")
        grey = loaded(tmp_path).train.images[0, :, :, 0]
        np.testing.assert_array_equal(grey, levels >> 8)

    def test_size_resizes_the_shorter_side_and_cuts_out_the_centre(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
        wide = Image.fromarray(noise)
        for split in ("train", "test"):
            place = tmp_path / split / "cat"
            place.mkdir(parents=True)
            wide.save(place / "wide.png")
            save(place / "small.png", (5, 9))
        train = loaded(tmp_path, "imagefolder[size=4]").train
        assert train.shape == (4, 4, 3)
        expected = wide.resize((8, 4), Image.Resampling.BILINEAR).crop((2, 0, 6, 4))
        found = train.images[train.keys.index("cat/wide.png")].astype(int)
        np.testing.assert_allclose(found, np.asarray(expected), atol=1)
        dataset, source = imagefolder(tmp_path, "imagefolder[size=4]")
        assert dataset.side(source) == 4

    def test_the_side_is_the_shorter_one_of_the_first_image(self, tmp_path: Path) -> None:
        save(tmp_path / "train" / "cat" / "0.png", (12, 10))
        save(tmp_path / "test" / "cat" / "0.png", (12, 10))
        dataset, source = imagefolder(tmp_path)
        assert dataset.side(source) == 10

    def test_training_counts_are_told_without_reading_images(self, image_folder: Write) -> None:
        root = image_folder(train=3)
        keys = loaded(root).train.keys
        (root / "train" / "cat" / "000.png").write_bytes(b"broken")
        dataset, source = imagefolder(root)
        assert dataset.training_counts(source) == {"cat": 3, "dog": 3}
        assert dataset.training_keys(source) == keys

    @pytest.mark.parametrize("packed", [False, True])
    def test_hidden_files_and_macos_leftovers_are_ignored(
        self, image_folder: Write, tmp_path: Path, packed: bool
    ) -> None:
        root = image_folder()
        messy = shutil.copytree(root, tmp_path / "messy")
        for stray in (
            "train/cat/._000.png", "train/.thumbs/000.png", "__MACOSX/train/cat/000.png",
            "sub/__MACOSX/train/cat/000.png", ".git/train/cat/000.png",
        ):  # fmt: skip
            (messy / stray).parent.mkdir(parents=True, exist_ok=True)
            (messy / stray).write_bytes(b"no image")
        (messy / "train" / "cat" / "notes.txt").write_text("no image")
        place = zipped(messy) if packed else messy
        assert_equal(loaded(root), loaded(place))
        assert fingerprint(root) == fingerprint(place)

    def test_unicode_file_names_are_kept(self, image_folder: Write) -> None:
        root = image_folder(classes=("Katze 猫", "ñandú"))
        cat = root / "train" / "Katze 猫"
        (cat / "000.png").rename(cat / "été ☀.png")
        splits = loaded(root)
        assert splits.train.classes == ("Katze 猫", "ñandú")
        assert "Katze 猫/été ☀.png" in splits.train.keys
        assert_equal(splits, loaded(zipped(root)))
        assert fingerprint(root) == fingerprint(zipped(root))

    def test_endings_in_capitals_are_images_too(self, image_folder: Write) -> None:
        root = image_folder()
        cat = root / "train" / "cat"
        (cat / "000.png").rename(cat / "000.PNG")
        assert "cat/000.PNG" in loaded(root).train.keys

    def test_linked_images_and_folders_are_followed(
        self, image_folder: Write, tmp_path: Path
    ) -> None:
        root = image_folder()
        linked = tmp_path / "linked"
        linked.mkdir()
        (linked / "train").symlink_to(root / "train")
        (linked / "test").symlink_to(root / "test")
        assert_equal(loaded(root), loaded(linked))


class TestFingerprints:
    def test_renaming_an_image_changes_it(self, image_folder: Write) -> None:
        root = image_folder()
        before = fingerprint(root)
        (root / "train" / "cat" / "000.png").rename(root / "train" / "cat" / "00.png")
        assert fingerprint(root) != before

    def test_another_size_of_a_file_changes_it(self, image_folder: Write) -> None:
        root = image_folder()
        before = fingerprint(root)
        with (root / "test" / "cat" / "000.png").open("ab") as file:
            file.write(b" ")
        assert fingerprint(root) != before

    def test_moving_an_image_to_the_other_split_changes_it(self, image_folder: Write) -> None:
        root = image_folder()
        before = fingerprint(root)
        (root / "test" / "cat" / "001.png").rename(root / "train" / "cat" / "x.png")
        assert fingerprint(root) != before

    def test_an_archive_that_is_packed_anew_is_listed_anew(self, image_folder: Write) -> None:
        root = image_folder()
        before = fingerprint(zipped(root))
        (root / "train" / "cat" / "000.png").rename(root / "train" / "cat" / "a-longer-name.png")
        assert fingerprint(zipped(root)) == fingerprint(root) != before


def test_the_highest_train_folder_counts(image_folder, tmp_path):
    outer = tmp_path / "test"
    image_folder().rename(outer)
    (outer / "train").rename(outer / "train.moved")
    (outer / "train.moved").rename(outer / "train")
    splits = DATASETS.make_one("imagefolder").load(Source(tmp_path))
    assert len(splits.train) == 12
