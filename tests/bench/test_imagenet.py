"""ImageNet's folders: classes, ground truth, keys; the recipe from command to record."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as torchvision_datasets

from bench.budgets import Budget
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.errors import DataError
from bench.selecting import key_order

WNIDS = ("n01440764", "n01443537", "n02102040")
NUMBERS = (18, 105, 10026)
"""Of files: 10026 comes first in a list sorted by text and last in one sorted by number (F6)."""
TRAINING, TESTING = 5, 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of ImageNet's shape: photos of many sizes, three classes."""
    rng = np.random.default_rng(0)
    number = 0
    for wnid in WNIDS:
        for split, count in (("train", TRAINING), ("val", TESTING)):
            folder = tmp_path / "in" / split / wnid
            folder.mkdir(parents=True)
            for place in range(count):
                number += 1
                name = f"{wnid}_{(*NUMBERS, 7, 90)[place]}"
                name = name if split == "train" else f"ILSVRC2012_val_{number:08d}"
                height, width = rng.integers(40, 90, 2)
                pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}.JPEG", format="JPEG")
    return tmp_path / "in"


@pytest.fixture
def flat(root: Path) -> dict[str, str]:
    """Move the validation images into one folder; return their classes by file."""
    truth = {}
    for path in sorted((root / "val").rglob("*.JPEG")):
        truth[path.name] = path.parent.name
        path.rename(root / "val" / path.name)
    for wnid in WNIDS:
        (root / "val" / wnid).rmdir()
    return truth


def load(root: Path, size: int = 32):
    return DATASETS.make_one(f"imagenet[size={size}]").load(Source(root))


def classes_by_file(split) -> dict[str, str]:
    labels = [split.classes[label] for label in split.labels]
    names = [key.partition("/")[2] for key in split.keys]
    return dict(zip(names, labels, strict=True))


def test_classes_and_files_are_those_of_torchvisions_image_folder(root):
    splits = load(root)
    for split, name in ((splits.train, "train"), (splits.test, "val")):
        theirs = torchvision_datasets.ImageFolder(str(root / name))
        assert split.classes == tuple(theirs.classes) == WNIDS
        assert split.labels.tolist() == theirs.targets
        paths = [str(Path(path).relative_to(root / name)) for path, _ in theirs.samples]
        assert list(split.keys) == paths
        assert key_order(split).tolist() == list(range(len(split)))


def test_nothing_is_decoded_before_it_is_looked_at(root):
    broken = root / "train" / WNIDS[0] / f"{WNIDS[0]}_18.JPEG"
    broken.write_bytes(b"no image")
    train = load(root).train
    assert train.shape == (32, 32, 3)
    position = train.keys.index(f"{WNIDS[0]}/{broken.name}")
    with pytest.raises(DataError, match=f"image train/{WNIDS[0]}/{broken.name} cannot be read"):
        train.images[position]
    assert train.images[position + 1].shape == (32, 32, 3)
    assert train.images.original(position + 1).shape[2] == 3


def write_devkit(folder: Path, flat: dict[str, str]) -> None:
    """Write the two files that torchvision reads; the kit's own ids are in another order."""
    from scipy.io import savemat

    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    fields = [
        ("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"),
        ("num_children", "O"), ("children", "O"), ("wordnet_height", "O"),
        ("num_train_images", "O"),
    ]  # fmt: skip
    rows = [(3, WNIDS[0]), (1, WNIDS[1]), (2, WNIDS[2]), (4, "n00001740")]
    synsets = np.empty((len(rows), 1), dtype=fields)
    for place, (number, wnid) in enumerate(rows):
        is_group = wnid == "n00001740"
        synsets[place, 0] = (number, wnid, "words, more", "gloss", 3 if is_group else 0, [], 0, 9)
    savemat(data / "meta.mat", {"synsets": synsets})
    ids = {wnid: number for number, wnid in rows}
    last = max(int(Path(name).stem[-8:]) for name in flat)
    by_number = {int(Path(name).stem[-8:]): wnid for name, wnid in flat.items()}
    lines = [str(ids[by_number.get(number, WNIDS[0])]) for number in range(1, last + 1)]
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(lines) + "\n")


class TestFlatValidation:
    def test_by_the_unpacked_development_kit(self, root, flat):
        write_devkit(root, flat)
        assert classes_by_file(load(root).test) == flat

    def test_by_its_archive_as_torchvision_reads_it(self, root, flat, tmp_path, monkeypatch):
        write_devkit(tmp_path, flat)
        archive = root / "ILSVRC2012_devkit_t12.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(tmp_path / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
        found = classes_by_file(load(root).test)
        assert found == flat
        known = torchvision_datasets.imagenet.ARCHIVE_META
        digest = hashlib.md5(archive.read_bytes()).hexdigest()
        monkeypatch.setitem(known, "devkit", (archive.name, digest))
        torchvision_datasets.imagenet.parse_devkit_archive(str(root))
        _, theirs = torch.load(root / "meta.bin", weights_only=True)
        assert {n: theirs[int(Path(n).stem[-8:]) - 1] for n in flat} == found

    def test_by_torchvisions_own_file(self, root, flat):
        last = max(int(Path(name).stem[-8:]) for name in flat)
        wnids = [flat.get(f"ILSVRC2012_val_{n:08d}.JPEG", WNIDS[0]) for n in range(1, last + 1)]
        torch.save((dict.fromkeys(WNIDS, ("a name",)), wnids), root / "meta.bin")
        assert classes_by_file(load(root).test) == flat

    def test_by_kaggles_table_above_its_folders(self, root, flat, tmp_path):
        below = tmp_path / "kaggle" / "ILSVRC" / "Data"
        below.mkdir(parents=True)
        root.rename(below / "CLS-LOC")
        with (tmp_path / "kaggle" / "LOC_val_solution.csv").open("w", newline="") as file:
            rows = [[Path(name).stem, f"{wnid} 1 2 3 4 "] for name, wnid in flat.items()]
            csv.writer(file).writerows([["ImageId", "PredictionString"], *rows])
        assert classes_by_file(load(below / "CLS-LOC").test) == flat

    def test_without_ground_truth_it_is_told_what_to_do(self, root, flat):
        with pytest.raises(DataError, match=r"no ground truth.*ILSVRC2012_devkit_t12.tar.gz"):
            load(root)

    def test_a_damaged_archive_is_named(self, root, flat):
        (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"cut off")
        with pytest.raises(DataError, match=r"devkit_t12.tar.gz cannot be read.*Fetch it again"):
            load(root)

    def test_the_fingerprint_needs_no_ground_truth(self, root, flat):
        assert DATASETS.make_one("imagenet").fingerprint(Source(root)).startswith("imagenet-")


class TestWrongFolders:
    def test_no_folder(self, monkeypatch):
        monkeypatch.delenv("BENCH_DATA", raising=False)
        with pytest.raises(DataError, match=r"--data DIR; ImageNet has to be fetched by hand"):
            load(None)

    def test_no_validation_folder(self, tmp_path):
        (tmp_path / "train").mkdir()
        with pytest.raises(DataError, match="has not both"):
            load(tmp_path)

    def test_an_empty_class(self, root):
        (root / "train" / "n09999999").mkdir()
        with pytest.raises(DataError, match=r"class 'n09999999' has no image"):
            load(root)

    def test_archives_that_were_not_unpacked(self, root):
        from shutil import rmtree

        rmtree(root / "train")
        (root / "train").mkdir()
        (root / "train" / "n01440764.tar").touch()
        with pytest.raises(DataError, match=r"has no images. Unpack the archives"):
            load(root)


def test_a_copy_with_smaller_images_is_another_data_set(root, tmp_path):
    dataset = DATASETS.make_one("imagenet")
    smaller = tmp_path / "smaller"
    for path in root.rglob("*.JPEG"):
        copy = smaller / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((20, 20)).save(copy, format="JPEG")
    assert dataset.fingerprint(Source(root)) != dataset.fingerprint(Source(smaller))
    assert dataset.training_counts(Source(root)) == dict.fromkeys(WNIDS, TRAINING)
    assert dataset.training_keys(Source(root)) == load(root).train.keys


@pytest.mark.parametrize("method", ["random", "random[edition=released]"])
def test_what_is_kept_is_known_by_file_name_in_whatever_order_files_are_listed(root, method, lab):
    train = load(root).train
    by_number = sorted(
        range(len(train)),
        key=lambda p: (train.labels[p], int(train.keys[p].rpartition("_")[2].split(".")[0])),
    )
    other = train.subset(np.array(by_number))
    assert other.keys != train.keys
    kept = [lab(METHODS.make_one(method), split) for split in (train, other)]
    assert kept[0] == kept[1]


@pytest.fixture
def lab(tmp_path: Path) -> Callable[..., set[str]]:
    """Return a function that gives the keys of what a method keeps of a split."""
    from bench.context import RunContext
    from bench.results import Results
    from bench.selecting import select

    def keys(method, split) -> set[str]:
        results = Results(tmp_path / f"results-{len(list(tmp_path.iterdir()))}")
        context = RunContext(
            {"name": "x"}, 0, "cpu", results.artefacts, results.leases, results.checkpoint
        )
        compressed = select(method, split, Budget.parse("40"), context)
        return {split.keys[position] for position in compressed.indices}

    return keys


RECIPE = "imagenet[epochs=1,batch_size=6,batch_shards=2]"


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_recipe_from_the_command_to_the_record(root, bench, tmp_path, processes):
    done: subprocess.CompletedProcess[str] = bench(
        "run", "--dataset", "imagenet[size=32]", "--data", "in", "--protocol", RECIPE,
        "--methods", "random,dq[bins=2,extractor_epochs=1]", "--models", "resnet8[width=4]",
        "--ratios", "60", "--seeds", "1", "--device", "cpu", "--threads", "1", "--workers", "1",
        "--gpus-per-cell", str(processes),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = [json.loads(p.read_text()) for p in (tmp_path / "results").glob("records/*.json")]
    assert {r["specs"]["method"] for r in records} == {
        "full", "random", "dq[extractor_epochs=1,bins=2]",
    }  # fmt: skip
    for record in records:
        assert record["engine"]["images"] == "streamed"
        assert record["engine"]["processes"] == processes
        assert "bf16 instead of fp16" in record["engine"]["our_choice"]
        assert record["metrics"]["test_images"] == len(WNIDS) * TESTING
        assert list(record["metrics"]["per_class_accuracy"]) == list(WNIDS)
        assert record["normalisation"]["mean"] == [0.485, 0.456, 0.406]
        assert "ImageNet" in record["normalisation"]["source"]
