"""Data sets: what is loaded from good files, and what is said of broken ones."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.datasets import DATASETS, Dataset, Source, Splits
from bench.errors import DataError

Write = Callable[..., Path]
OFFICIAL_FIRST_LABELS = [6, 9, 9, 4, 1, 1, 2, 7, 8, 3, 4, 7, 7, 2, 9, 9, 9, 3, 2, 6]
"""Labels of CIFAR-10's first training images, by official index."""


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


class TestDigits:
    def test_all_1797_images_are_in_one_of_two_splits(self) -> None:
        splits = DATASETS.make_one("digits").load(Source())
        keys = [*splits.train.keys, *splits.test.keys]
        assert sorted(keys) == [f"{position:05d}" for position in range(1797)]
        assert splits.train.shape == splits.test.shape == (8, 8, 1)
        assert splits.train.images.dtype == np.uint8
        assert splits.train.images.max() == 255

    def test_each_class_gives_a_fifth_to_the_test_split(self) -> None:
        splits = DATASETS.make_one("digits").load(Source())
        train, test = splits.train.class_counts, splits.test.class_counts
        np.testing.assert_allclose(test, (train + test) / 5, atol=1)
        assert splits.train.classes == tuple("0123456789")

    def test_the_split_is_the_same_every_time(self) -> None:
        digits = DATASETS.make_one("digits")
        first = digits.load(Source())
        np.random.seed(1)  # nobody's global generator matters
        assert_equal(first, digits.load(Source()))
        kept = hashlib.sha256(" ".join(first.test.keys).encode()).hexdigest()
        assert kept[:16] == "b20be9b03d642000"

    def test_training_counts_are_those_of_the_loaded_split(self) -> None:
        digits = DATASETS.make_one("digits")
        train = digits.load(Source()).train
        counts = dict(zip(train.classes, train.class_counts.tolist(), strict=True))
        assert digits.training_counts(Source()) == counts


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
        (root / "train" / "cat" / "000.png").write_bytes(b"broken")
        dataset, source = imagefolder(root)
        assert dataset.training_counts(source) == {"cat": 3, "dog": 3}

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


class CifarFiles:
    """CIFAR in the format of torchvision, a few images a file, with checksums that fit."""

    def __init__(self, name: str, root: Path, patch: pytest.MonkeyPatch) -> None:
        from torchvision import datasets

        self.name = name
        self.family = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
        self.folder = root / self.family.base_folder
        self.folder.mkdir(parents=True)
        self.patch = patch
        self.source = Source(root)
        self.generator = np.random.default_rng(0)

    def write(self, train: list[str], test: str, meta: str, key: str, classes: int) -> None:
        share = classes // len(train)
        trained = [
            (file, self.batch(file, key, range(number * share, (number + 1) * share)))
            for number, file in enumerate(train)
        ]
        tested = [(test, self.batch(test, key, range(classes)))]
        names = key.replace("labels", "label_names")
        checksum = self.store(meta, {names: [f"class-{number}" for number in range(classes)]})
        self.patch.setattr(self.family, "train_list", trained)
        self.patch.setattr(self.family, "test_list", tested)
        self.patch.setattr(self.family, "meta", {"filename": meta, "key": names, "md5": checksum})

    def batch(self, file: str, key: str, labels: range) -> str:
        self.planes = self.generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        return self.store(file, {"data": self.planes, key: list(labels)})

    def store(self, file: str, content: object) -> str:
        data = pickle.dumps(content, protocol=2)
        (self.folder / file).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    def load(self, download: bool = False) -> Splits:
        return DATASETS.make_one(self.name).load(Source(self.source.path, download))

    def refusal(self, download: bool = False) -> str:
        with pytest.raises(DataError) as caught:
            self.load(download)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CifarFiles:
    files = CifarFiles(request.param, tmp_path / "data", monkeypatch)
    if request.param == "cifar10":
        batches = [f"data_batch_{number}" for number in range(1, 6)]
        files.write(batches, "test_batch", "batches.meta", "labels", 10)
    else:
        files.write(["train"], "test", "meta", "fine_labels", 100)
    return files


class TestCifar:
    def test_both_splits_are_read_from_torchvisions_files(self, cifar: CifarFiles) -> None:
        splits = cifar.load()
        classes = 10 if cifar.name == "cifar10" else 100
        assert splits.train.classes == tuple(f"class-{number}" for number in range(classes))
        assert splits.train.class_counts.tolist() == [1] * classes
        assert splits.test.shape == (32, 32, 3)
        planes = cifar.planes.reshape(-1, 3, 32, 32)  # the test file's, which is written last
        np.testing.assert_array_equal(splits.test.images, planes.transpose(0, 2, 3, 1))

    def test_keys_are_the_official_indices(self, cifar: CifarFiles) -> None:
        keys = cifar.load().train.keys
        assert keys == tuple(f"{position:05d}" for position in range(len(keys)))

    def test_a_wrong_checksum_is_told_with_the_way_out(self, cifar: CifarFiles) -> None:
        file = cifar.folder / cifar.family.train_list[-1][0]
        content = bytearray(file.read_bytes())
        content[1000] ^= 1
        file.write_bytes(content)
        text = cifar.refusal()
        assert cifar.name in text
        assert str(cifar.folder.parent) in text
        assert "--download" in text
        assert "download=True" not in text

    def test_a_missing_file_is_told_with_the_way_out(self, cifar: CifarFiles) -> None:
        (cifar.folder / cifar.family.test_list[0][0]).unlink()
        text = cifar.refusal()
        assert "--download" in text
        assert "--data PATH" in text

    def test_a_download_without_a_network_says_what_to_do(
        self, cifar: CifarFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        shutil.rmtree(cifar.folder)
        monkeypatch.setattr(cifar.family, "url", "http://127.0.0.1:9/cifar.tar.gz")
        text = cifar.refusal(download=True)
        assert "could not be fetched" in text
        assert "refused" in text
        assert "by hand" in text

    def test_what_is_there_is_not_fetched_again(
        self, cifar: CifarFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cifar.family, "url", "http://127.0.0.1:9/cifar.tar.gz")
        assert len(cifar.load(download=True).test) > 0

    def test_bench_data_names_the_folder(
        self, cifar: CifarFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BENCH_DATA", str(cifar.source.path))
        assert_equal(cifar.load(), DATASETS.make_one(cifar.name).load(Source()))


class TestRealImages:
    def test_the_small_cifar_zip_loads_and_keys_carry_the_official_index(
        self, shared_data: Path
    ) -> None:
        splits = loaded(shared_data / "cifar10-mini.zip")
        train, test = splits.train, splits.test
        assert (len(train), len(test)) == (2000, 500)
        assert train.shape == (32, 32, 3)
        assert train.class_counts.tolist() == [200] * 10
        index = np.array([int(Path(key).stem) for key in train.keys])
        assert len(set(index)) == 2000
        by_index = np.argsort(index)
        assert index[by_index][:20].tolist() == list(range(20))
        assert train.labels[by_index][:20].tolist() == OFFICIAL_FIRST_LABELS


@pytest.mark.parametrize("packed", [False, True])
def test_a_class_folder_without_images_in_both_splits_is_told(image_folder, tmp_path, packed):
    root = image_folder()
    for split in ("train", "test"):
        (root / split / "owl").mkdir()
    if packed:
        root = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", root))
    with pytest.raises(DataError, match="class 'owl' has no image in train/"):
        DATASETS.make_one("imagefolder").load(Source(root))


def test_the_highest_train_folder_counts(image_folder, tmp_path):
    outer = tmp_path / "test"
    image_folder().rename(outer)
    (outer / "train").rename(outer / "train.moved")
    (outer / "train.moved").rename(outer / "train")
    splits = DATASETS.make_one("imagefolder").load(Source(tmp_path))
    assert len(splits.train) == 12
