"""``bench reproduce``: the shipped sweeps, and what is made of them."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.cells import Plan
from bench.cli.reproduce import SCALES, names, part_options, sweep_files
from bench.cli.trajectory import MOST_POINTS, Study, points, thirds
from bench.contract import ImageDataset
from reports.reproduction import EXPERIMENTS, SWEEPS

Bench = Callable[..., subprocess.CompletedProcess[str]]
WANTED = [
    "adq-fig2", "adq-fig4", "adq-fig5", "adq-fig6", "adq-table1", "adq-table2", "adq-table3",
    "dq-lossless", "dqas-classwise", "dqas-pipeline",
]  # fmt: skip
FILES = [path for scale in SCALES for path in sorted((SWEEPS / scale).glob("*.toml"))]


def test_every_experiment_has_a_sweep_at_both_scales_and_something_to_show():
    assert names() == WANTED == sorted(EXPERIMENTS)
    for scale in SCALES:
        assert {path.name.split(".")[0] for path in (SWEEPS / scale).glob("*.toml")} == set(WANTED)
    for name, experiment in EXPERIMENTS.items():
        assert experiment.figures or experiment.tables([]) == [], name


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_sweep_is_one_that_bench_run_takes(file):
    assert file.read_text(encoding="utf-8").startswith("# ")
    stated = tomllib.loads(file.read_text(encoding="utf-8"))
    assert stated.get("dataset") == ("cifar10" if file.parent.name == "paper" else None)
    sweep = part_options(file, {"dataset": "digits"}).sweep()
    plan = Plan.of(sweep)
    specs = {cell.method.spec for cell in plan.cells}
    assert {"full", "random"} <= specs
    assert len(plan.cells) >= 30
    if file.parent.name == "paper":
        assert all(seeds >= 5 for seeds in [sweep.seeds])
        assert {cell.protocol.spec for cell in plan.cells} <= {
            "paper", "matched-steps", "transformer",
        }  # fmt: skip


def test_table_one_has_the_papers_five_architectures():
    files = sweep_files("adq-table1", "paper")
    assert len(files) == 2
    models = [
        cell.model.spec
        for file in files
        for cell in part_options(file, {"dataset": "digits", "seeds": 1}).sweep().cells()
    ]
    assert set(models) == {"resnet18", "resnet50", "vit", "swin", "convnext"}


def test_own_images_are_given_by_their_folder_alone_at_the_small_scale(image_folder):
    (file,) = sweep_files("adq-table3", "cpu")
    options = part_options(file, {"data": image_folder(), "seeds": 2, "download": False})
    assert (options.dataset, options.seeds, options.ratios) == ("imagefolder", 2, "10,20,30")
    (paper,) = sweep_files("adq-table3", "paper")
    assert part_options(paper, {"data": Path("x")}).dataset == "cifar10"


def test_it_lists_what_there_is(bench: Bench):
    answer = bench("reproduce")
    assert answer.returncode == 0, answer.stderr
    assert [line.split(":")[0] for line in answer.stdout.splitlines()] == WANTED


def test_a_wrong_name_is_told_in_a_line(bench: Bench):
    answer = bench("reproduce", "adq-tabel1")
    assert answer.returncode == 2
    assert "Did you mean 'adq-table1'?" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_a_dry_run_shows_the_plan_and_its_cost_and_writes_nothing(bench: Bench, tmp_path):
    answer = bench("reproduce", "adq-table1", "--dry-run", "--seeds", "1")
    assert answer.returncode == 0, answer.stderr
    assert "39 of 39 cells to compute" in answer.stdout
    assert "images in all" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_computed_shown_written_and_not_computed_again(bench: Bench, tmp_path):
    asked = ("reproduce", "adq-table3", "--seeds", "1", "--ratios", "10",
             "--protocol", "smoke[epochs=1]", "--results", "r")  # fmt: skip
    first = bench(*asked)
    assert first.returncode == 0, first.stderr
    assert "6 of 6 cells to compute" in first.stdout  # the cost comes first
    assert first.stdout.index("cells to compute") < first.stdout.index("+ RS")
    written = (tmp_path / "r" / "reproduced" / "adq-table3" / "adq-table3.md").read_text()
    assert "+ IS (RS + DS)" in written
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "r" / "records").iterdir()}
    assert len(before) == 6
    again = bench(*asked, "--json")
    assert again.returncode == 0, again.stderr
    (table,) = json.loads(again.stdout)["tables"]
    assert [row["module"] for row in table["rows"]] == ["DQ", "+ RS", "+ DS", "+ IS (RS + DS)"]
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "r" / "records").iterdir()}


@pytest.mark.slow
def test_the_trajectory_study_is_made_drawn_and_not_made_again(bench: Bench, tmp_path):
    asked = ("reproduce", "adq-fig4", "--seeds", "1", "--protocol", "smoke[epochs=2]")
    told = bench(*asked, "--dry-run")
    assert "5 networks for each of 1 pending seeds" in told.stdout
    assert list(tmp_path.iterdir()) == []
    first = bench(*asked)
    assert first.returncode == 0, first.stderr
    (figure,) = (tmp_path / "results" / "reproduced" / "adq-fig4").glob("*.svg")
    ElementTree.parse(figure)
    (file,) = (tmp_path / "results" / "studies").iterdir()
    study = json.loads(file.read_text())
    assert study["epochs"] == [1, 2]
    for kinds in study["distances"].values():
        assert all(value > 0 for values in kinds.values() for value in values)
    again = bench(*asked)
    assert "training on" not in again.stderr


def images(count: int = 30) -> ImageDataset:
    """Return images of rising contrast in a scrambled order; labels alternate."""
    contrast = np.random.default_rng(1).permutation(count)
    checks = np.indices((8, 8)).sum(0) % 2
    pixels = (checks * contrast[:, None, None] * 255 // count).astype(np.uint8)[..., None]
    keys = tuple(str(number) for number in range(count))
    return ImageDataset(pixels, np.arange(count) % 2, ("a", "b"), keys)


def test_thirds_are_disjoint_equal_and_ordered_by_texture():
    from methods.parts.texture import texture_level

    train = images(31)
    parts = thirds(train, seed=0)
    assert {len(part) for part in parts.values()} == {10}
    ordered = np.concatenate([parts[name] for name in ("low", "medium", "high")])
    assert len(np.unique(ordered)) == 30
    levels = texture_level(train.images)
    assert levels[parts["low"]].max() <= levels[parts["medium"]].min()
    assert levels[parts["medium"]].max() <= levels[parts["high"]].min()
    assert not np.array_equal(parts["random"], thirds(train, seed=1)["random"])


def test_a_student_on_the_same_images_has_no_distance_from_the_expert():
    (file,) = sweep_files("adq-fig4", "cpu")
    study = Study.of(part_options(file, {"protocol": "smoke[epochs=2]"}))
    train = images()
    parts = {"all": np.arange(30), "half": np.arange(15)}
    found = study._distances(train, parts, 0, "cpu", lambda message: None)
    assert found["all"]["relative"] == [0.0, 0.0]
    assert found["all"]["angle"] == pytest.approx([0.0, 0.0], abs=1e-5)
    assert min(found["half"]["relative"]) > 0.01


@pytest.mark.parametrize("epochs", [1, 2, 39, 40, 41, 200, 1001])
def test_weights_are_compared_at_the_first_and_the_last_epoch_and_not_too_often(epochs):
    found = points(epochs)
    assert found[0] == 1
    assert found[-1] == epochs
    assert len(found) == min(epochs, MOST_POINTS)
    assert found == sorted(set(found))
