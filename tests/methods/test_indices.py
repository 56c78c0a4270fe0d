"""Index files of others: which images they name, and what is refused before a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compressions import ask, run

from bench.cells import EVERYTHING, Cell, Plan
from bench.cli import cli
from bench.conformance import Verdict, check, data
from bench.context import RunContext
from bench.contract import METHODS, CompressedSet, Method
from bench.datasets import DATASETS, Source
from bench.errors import UsageError
from bench.models import MODELS
from bench.planning import forecast, require
from bench.protocols import PROTOCOLS
from bench.results import Results
from bench.selecting import select
from bench.working import _share

NUMBERS = [40, 3, 77]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that $BENCH_INDICES names."""
    folder = tmp_path / "indices"
    folder.mkdir()
    monkeypatch.setenv("BENCH_INDICES", str(folder))
    return folder


@pytest.fixture
def write(place: Path) -> Callable[..., Method]:
    """Return a function that writes an index file and gives the method that reads it."""

    def written(name: str, content: Any, **parameters: Any) -> Method:
        if name.endswith(".npy"):
            np.save(place / name, content)
        else:
            (place / name).write_text(content)
        return METHODS.get("indices")(file=name, sha256=sha256(place / name), **parameters)

    return written


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refusal(ask_for: Callable[[], Any]) -> str:
    with pytest.raises(UsageError) as caught:
        ask_for()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "by"),
    [
        ("a.npy", np.array(NUMBERS), "name-number"),
        ("a.npy", np.array(NUMBERS, dtype=np.uint8), "position"),
        ("a.txt", "40\n3\n77\n", "name-number"),
        ("a.csv", "index\n40\n3\n77\n", "name-number"),
        ("a.csv", "position\n40\n3\n77\n", "position"),
        ("a.csv", "file\n040\n003\n077\n", "file"),
        ("a.csv", "file,class,position\ncopy/train/040,x,1\ntrain/003,x,2\n077,x,3\n", "file"),
    ],
)
def test_every_format_names_the_same_images_in_its_order(
    write, place, noise, context, name, content, by
):
    method = write(name, content, by=by)
    kept = select(method, noise, EVERYTHING, context())
    assert kept.indices.tolist() == NUMBERS
    assert kept.notes == {
        "file": name, "sha256": sha256(place / name), "joined_by": by, "indices": 3,
    }  # fmt: skip


@pytest.mark.parametrize("by", ["name-number", "position", "file"])
def test_the_order_of_the_images_does_not_matter(write, noise, context, by):
    content = "file\n040\n003\n077\n" if by == "file" else "40\n3\n77\n"
    method = write("a.csv" if by == "file" else "a.txt", content, by=by)
    for permuted in (noise, noise.subset(np.random.default_rng(0).permutation(len(noise)))):
        kept = select(method, permuted, EVERYTHING, context(dataset=str(permuted.keys[0])))
        assert [permuted.keys[i] for i in kept.indices] == ["040", "003", "077"]


def test_our_own_list_of_kept_files_names_them_again(place, image_folder, tmp_path, context):
    root = image_folder()
    _, images = run(root, tmp_path / "out", ask(METHODS.make_one("random"), "50"))
    (place / "kept.csv").write_bytes((tmp_path / "out" / "kept.csv").read_bytes())
    method = METHODS.get("indices")(file="kept.csv", sha256=sha256(place / "kept.csv"), by="file")
    train = DATASETS.make_one("imagefolder").load(Source(root)).train
    kept = select(method, train, EVERYTHING, context())
    assert {f"train/{train.keys[i]}" for i in kept.indices} == set(images)
    told = refusal(lambda: replace(method, by="name-number").compress(train, EVERYTHING, context()))
    assert told.endswith("lists files, by its own word, and no numbers of names. Give by=file")


def test_an_image_that_is_listed_by_two_paths_is_told(write):
    method = write("a.csv", "file\ncat/0.png\ntrain/cat/0.png\n", by="file")
    assert "an image by two paths" in refusal(lambda: method.refuse_unready(lambda: ["cat/0.png"]))


def test_the_content_takes_part_in_the_identity_once_and_no_folder_does(write, place):
    method = write("a.npy", np.array(NUMBERS))
    digest = sha256(place / "a.npy")
    spellings = [digest, digest[:12], digest[:13].upper()]
    made = {METHODS.make_one(f"indices[file=a.npy,sha256={one}]") for one in spellings}
    assert made == {method}
    assert METHODS.make_one(method.spec) == METHODS.from_identity(method.identity()) == method
    assert method.identity()["parameters"] == {
        "file": "a.npy", "sha256": digest[:12], "by": "name-number",
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        "file=a/b.npy", "file=../b.npy", "file=.b.npy", "file=a b.npy", "file=a\\b.npy",
        "sha256=b560893ca2f", "sha256=b560893ca2fg", f"sha256={65 * '0'}", "by=index",
    ],
)  # fmt: skip
def test_a_name_with_a_folder_and_what_is_no_digest_are_refused(given):
    assert "is not allowed. Give " in refusal(lambda: METHODS.make_one(f"indices[{given}]"))


def test_each_refusal_says_what_to_do(write, place):
    write("a.npy", np.array(NUMBERS))
    digest = sha256(place / "a.npy")
    spec = f"indices[file=a.npy,sha256={digest[:12]}]"

    def told(given: str, count: int = 80) -> str:
        keys = [f"{number:03d}" for number in range(count)]
        return refusal(lambda: METHODS.make_one(given).refuse_unready(lambda: keys))

    assert told("indices") == (
        f"indices needs an index file in {place} (BENCH_INDICES). "
        "Give 'indices[file=NAME,sha256=DIGEST]'"
    )
    assert told("indices[file=b.npy]") == (
        f"indices: there is no file b.npy in {place}. "
        "Copy it there, or name its folder in BENCH_INDICES"
    )
    assert told("indices[file=a.npy]") == (
        f"indices: sha256 is missing; {place}/a.npy has {digest}. "
        f"If it is the right file, give '{spec}'"
    )
    assert told("indices[file=a.npy,sha256=0123456789ab]") == (
        f"indices: {place}/a.npy has sha256 {digest[:12]}..., not 0123456789ab... "
        f"Copy the right file there, or give '{spec}'"
    )
    assert told(spec, 10) == (
        f"indices: 2 of the 3 indices in {place}/a.npy have no image among the 10 training images "
        "(by=name-number), first 40. Name the data set that the file was made for"
    )
    METHODS.make_one(spec).refuse_unready(lambda: [f"{number}" for number in range(78)])


def test_positions_are_pointed_to_where_they_would_do(write):
    method = write("a.txt", "1\n2\n")
    told = refusal(lambda: method.refuse_unready(lambda: ["a/5.png", "a/6.png", "a/7.png"]))
    assert told.endswith("first 1. Name the data set that the file was made for. As positions all "
                         "have one: by=position")  # fmt: skip
    told = refusal(lambda: method.refuse_unready(lambda: ["a/1.png", "b/1.png"]))
    assert told.endswith("2 files have the number 1. Rename the files, or give by=position")
    told = refusal(lambda: replace(method, by="file").refuse_unready(lambda: ["a/1.png"]))
    assert "by=file: the index file lists numbers, no files. Give by=name-number" in told


def cell(method: Method, protocol: str = "smoke[epochs=1]", fingerprint: str = "f") -> Cell:
    return Cell(
        DATASETS.make_one("imagefolder"), fingerprint, method, EVERYTHING, 0,
        MODELS.make_one("resnet8"), PROTOCOLS.make_one(protocol), 0,
    )  # fmt: skip


def test_a_plan_and_a_protocol_go_by_what_the_file_names(write, image_folder, noise, tmp_path):
    method = write("a.txt", "0\n3\n11\n", by="position")
    source = Source(image_folder())
    one = cell(method)
    (expected,) = forecast(Plan((one,)), Results(tmp_path / "r"), source).cells
    assert (expected.images_seen, expected.share) == (3, 0.25)
    assert _share(one, CompressedSet(np.arange(8)), noise) == 0.1


def test_a_run_needs_the_file_until_its_set_is_made(write, image_folder, place, tmp_path):
    method = write("a.txt", "0\n3\n7\n11\n", by="position")
    right = (place / "a.txt").read_text()
    results, source = Results(tmp_path / "r"), Source(image_folder())
    images = DATASETS.make_one("imagefolder").fingerprint(source)
    waiting = [cell(one, fingerprint=images) for one in (method, METHODS.make_one("random"))]

    def ready() -> None:
        require(waiting, results, source, print)
        forecast(Plan(tuple(waiting)), results, source)

    (place / "a.txt").write_text("0\n3\n7\n99\n")
    assert f"not {method.sha256}..." in refusal(ready)
    (place / "a.txt").write_text(right)
    ready()
    context = RunContext(
        waiting[0].identity()["dataset"], 0, "cpu", results.artefacts, results.leases,
        results.checkpoint,
    )  # fmt: skip
    select(method, waiting[0].dataset.load(source).train, EVERYTHING, context)
    (place / "a.txt").unlink()
    ready()
    waiting.append(cell(replace(method, by="name-number"), fingerprint=images))
    assert "there is no file a.txt" in refusal(ready)


def test_a_folder_can_be_compressed_by_it(write, image_folder, tmp_path):
    root = image_folder()
    images = run(root, tmp_path / "out", ask(write("a.txt", "0\n7\n", by="position"), "100"))[1]
    assert images.keys() == {"train/cat/000.png", "train/dog/001.png"}
    wrong = write("b.txt", "0\n12\n", by="position")
    assert "first 12" in refusal(lambda: run(root, tmp_path / "no", ask(wrong, "100")))


def test_the_kit_finds_no_fault(write):
    numbers = np.random.default_rng(0).permutation(len(data.ordinary()))[:30]
    method = write("a.npy", numbers)
    findings = list(check(method))
    assert [f.name for f in findings if f.verdict is Verdict.FAIL] == []
    assert "it refuses: " in next(f.told for f in findings if f.name == "empty-class")


def test_the_file_of_dq_wants_all_of_cifar10(shared_data, monkeypatch, tmp_path):
    if not (shared_data / "dq_select_indices_CIFAR10_0.125.npy").is_file():
        pytest.skip("BENCH_DATA has no released index file")
    monkeypatch.setenv("BENCH_INDICES", str(shared_data))
    spec = "indices[file=dq_select_indices_CIFAR10_0.125.npy,sha256=b560893ca2f2]"
    method = METHODS.make_one(spec)
    method.refuse_unready(lambda: DATASETS.make_one("cifar10").training_keys(Source()))
    assert method.expected_images(EVERYTHING, 50_000) == 6200
    mini, results = shared_data / "cifar10-mini.zip", tmp_path / "results"
    asked = ["--dataset", "imagefolder", "--data", mini, "--methods", spec, "--results", results]
    for command in ("run", "plan"):
        arguments = [command, *map(str, asked)]
        told = refusal(lambda arguments=arguments: cli.main(arguments, standalone_mode=False))
        assert "5978 of the 6200 indices" in told
        assert "among the 2000 training images (by=name-number), first 2675. Name" in told
    assert not results.exists()
