"""The digits and CIFAR: what is loaded, and what is said of files that are wrong."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_folders import assert_equal, loaded

from bench.datasets import DATASETS, Source, Splits
from bench.errors import DataError

OFFICIAL_FIRST_LABELS = [6, 9, 9, 4, 1, 1, 2, 7, 8, 3, 4, 7, 7, 2, 9, 9, 9, 3, 2, 6]
"""Labels of CIFAR-10's first training images, by official index."""


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
        assert digits.training_keys(Source()) == train.keys


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
        every = DATASETS.make_one(cifar.name).training_keys(Source())
        assert (len(every), every[: len(keys)]) == (50_000, keys)
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

    def test_what_is_missing_is_seen_without_loading_it(self, cifar: CifarFiles) -> None:
        dataset, fetching = DATASETS.make_one(cifar.name), Source(cifar.source.path, download=True)
        assert dataset.missing(cifar.source) == ""
        shutil.rmtree(cifar.folder)
        told = dataset.missing(cifar.source)
        assert told.startswith(f"{cifar.name} is not whole in {cifar.source.path}: there is no ")
        assert "--download" in told
        assert dataset.missing(fetching) == ""

    def test_a_download_without_a_network_says_what_to_do_and_leaves_nothing(
        self, cifar: CifarFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        shutil.rmtree(tmp_path / "data")
        cifar.source = Source(tmp_path / "data" / "of" / "mine")
        monkeypatch.setattr(cifar.family, "url", "http://127.0.0.1:9/cifar.tar.gz")
        text = cifar.refusal(download=True)
        assert list(tmp_path.iterdir()) == []
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
