"""The real commands merge and export, on results folders of two made-up machines."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bench.budgets import Budget
from bench.cells import Cell
from bench.contract import METHODS
from bench.datasets import DATASETS
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.results import Results, load


def cell(method: str, seed: int) -> Cell:
    return Cell(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        method=METHODS.make_one(method),
        budget=Budget.parse("10"),
        selection_seed=seed,
        model=MODELS.make_one("resnet8"),
        protocol=PROTOCOLS.make_one("smoke"),
        training_seed=seed,
    )


def content(accuracy: float, host: str) -> dict[str, object]:
    return {
        "metrics": {"accuracy": accuracy, "best_accuracy": accuracy + 1},
        "compressed": {"images": 144, "bytes": 9360, "full_images": 1437, "full_bytes": 93405},
        "cost": {
            "selection_s": 0.5,
            "training_s": 2.0,
            "testing_s": 0.25,
            "steps": 150,
            "images_seen": 4320,
        },
        "weights_digest": f"{accuracy}",
        "provenance": {
            "device": {"device": "cpu"},
            "machine": {"host": host},
            "source": {"digest": "d"},
        },
    }


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two results folders: one cell each of its own, one that both have computed alike."""
    for name, own in (("A", 0), ("B", 1)):
        results = Results(tmp_path / name)
        results.prepare()
        results.write_record(cell("random", own), content(90.0 + own, f"host-{name}"))
        results.write_record(cell("dq", 0), content(95.0, f"host-{name}"))
    return tmp_path


def test_merge_tells_what_it_took(bench, folders):
    answer = bench("merge", "A", "B", "--into", "C")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == (
        "C: took 3 records, 0 failures, 0 plans and 0 artefacts; duplicates (same numbers): 1\n"
    )
    assert answer.stderr == ""
    assert sorted(load(folders / "C")["accuracy"]) == [90.0, 91.0, 95.0]


def test_merge_takes_what_the_report_draws_besides_records(bench, folders):
    for folder, text in (("A", "first"), ("B", "second")):
        place = folders / folder / "released" / "cifar10"
        place.mkdir(parents=True)
        (place / "both.txt").write_text(text)
    (folders / "B" / "pictures").mkdir()
    (folders / "B" / "pictures" / "dq.jpg").write_bytes(b"sheet")
    assert bench("merge", "A", "B", "--into", "C").returncode == 0
    assert (folders / "C" / "released" / "cifar10" / "both.txt").read_text() == "first"
    assert (folders / "C" / "pictures" / "dq.jpg").read_bytes() == b"sheet"


def test_merge_tells_conflicts_with_both_numbers_and_exits_with_1(bench, folders):
    Results(folders / "B").write_record(cell("dq", 0), content(96.5, "host-B"))
    answer = bench("merge", "A", "B", "--into", "C")
    assert answer.returncode == 1
    line = next(line for line in answer.stdout.splitlines() if line.startswith("conflict"))
    assert cell("dq", 0).id in line
    assert "95.00 % in A (host-A, cpu, code d); 96.50 % in B (host-B, cpu, code d)" in line
    assert "C/conflicts/CELL/" in answer.stdout
    assert len(list((folders / "C" / "conflicts" / cell("dq", 0).id).iterdir())) == 2
    told = json.loads(bench("merge", "A", "B", "--into", "D", "--json").stdout)
    assert [one["accuracy"] for one in told["conflicts"][0]["versions"]] == [95.0, 96.5]


def test_merge_tells_of_damage_and_exits_with_1(bench, folders):
    path = folders / "A" / "records" / f"{cell('random', 0).id}.json"
    path.write_text("{")
    answer = bench("merge", "A", "B", "--into", "C")
    assert answer.returncode == 1
    assert f"{path.name} is damaged" in answer.stderr
    assert "took 2 records" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["merge", "A", "nowhere", "--into", "C"], "Name one as a source; bench run makes it"),
        (["merge", "A", "--into", "."], "Name an empty or a new folder with --into"),
        (["merge", "A", "--into", "A"], "named twice"),
        (["merge", "A"], "Missing option '--into'"),
        (["export", "--results", "A"], "Give --parquet FILE or --csv FILE"),
        (["export", "--results", "nowhere", "--csv", "t.csv"], "is no results folder"),
    ],
)
def test_wrong_use_is_one_line(bench, folders, arguments, words):
    answer = bench(*arguments)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not (folders / "C").exists()


def test_export_writes_the_tidy_table(bench, folders):
    answer = bench("export", "--results", "A", "--csv", "out/cells.csv")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "out/cells.csv: 2 cells\n"
    with (folders / "out" / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == load(folders / "A")["accuracy"].tolist()
    assert list(rows[0]) == list(load(folders / "A").columns)


def test_export_of_a_folder_without_records_says_so(bench, folders):
    Results(folders / "E").prepare()
    answer = bench("export", "--results", "E", "--csv", "t.csv")
    assert answer.returncode == 2
    assert "E has no records to export" in answer.stderr


def test_export_tells_of_damaged_records(bench, folders):
    (folders / "A" / "records" / f"{cell('dq', 0).id}.json").write_text("{")
    answer = bench("export", "--results", "A", "--csv", "t.csv")
    assert answer.stdout == "t.csv: 1 cells\n"
    assert "is damaged" in answer.stderr


def test_parquet_holds_the_same_table(bench, folders):
    pytest.importorskip("pyarrow", reason="pyarrow, an optional extra, is not installed")
    import pandas as pd

    answer = bench("export", "--results", "A", "--parquet", "cells.parquet")
    assert answer.returncode == 0, answer.stderr
    read = pd.read_parquet(folders / "cells.parquet")
    pd.testing.assert_frame_equal(read, load(folders / "A"))


def test_without_pyarrow_parquet_is_refused_with_what_to_do(bench, folders):
    code = (
        "import sys; sys.modules['pyarrow'] = None; sys.argv = ['bench', 'export', '--results', "
        "'A', '--parquet', 'x.parquet']; from bench.cli import main; main()"
    )
    import subprocess
    import sys

    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=folders, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert "--parquet needs pyarrow" in answer.stderr
    assert "[parquet]" in answer.stderr
    assert not (folders / "x.parquet").exists()
