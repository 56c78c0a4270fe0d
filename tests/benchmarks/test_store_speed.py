"""Plans and records in great number: what the parts that cells share save.

BENCH_STORE_COUNT sets the number; 100,000 is what the store is made for:
BENCH_STORE_COUNT=100000 pytest -m slow --benchmark-enable tests/benchmarks/test_store_speed.py
"""

from __future__ import annotations

import json
import os
import random

import pytest

from bench.budgets import parse_budgets
from bench.cells import Plan, Sweep
from bench.contract import METHODS
from bench.datasets import DATASETS
from bench.identity import cell_id, digest
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.records import RECORD_SCHEMA
from bench.results import Results, load

COUNT = int(os.environ.get("BENCH_STORE_COUNT", "2000"))
METHODS_ASKED = "random,dq[bins=[2,5,10,20]],adq[alpha=[0,0.25,0.5,0.75]],classwise[base=[dq,adq]]"
RATIOS = "1,2,5,10,20,30,40,50,60,80"


def sweep():
    """About COUNT cells; 440 for each seed."""
    return Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        methods=METHODS.make(METHODS_ASKED),
        budgets=parse_budgets(RATIOS),
        models=MODELS.make("resnet8,resnet18"),
        protocols=PROTOCOLS.make("smoke,cpu"),
        seeds=-(-COUNT // 440),
    )


@pytest.mark.benchmark(group="plan")
def test_plan(benchmark):
    plan = benchmark.pedantic(Plan.of, setup=lambda: ((sweep(),), {}), rounds=3)
    assert len(plan.cells) >= COUNT


@pytest.mark.slow
@pytest.mark.benchmark(group="plan")
def test_plan_with_every_identity_written_out(benchmark):
    """The plain way: each cell's whole identity as JSON."""

    def plain(asked):
        return {cell_id(cell.identity()): cell for cell in asked.cells()}

    found = benchmark.pedantic(plain, setup=lambda: ((sweep(),), {}), rounds=1)
    assert list(found) == [cell.id for cell in Plan.of(sweep()).cells]


def content(cell, selection, rng):
    """A record of the size of a real one (5 kB); a selection's cells share its facts."""
    kinds = ("extractor", "embeddings", "bins", "texture", "scores", "compressed")
    return {
        "schema": RECORD_SCHEMA,
        "id": cell.id,
        "cell": cell.identity(),
        "specs": cell.specs(),
        "method": cell.method.facts(),
        "metrics": {
            "accuracy": rng.uniform(50, 90),
            "best_accuracy": 91.0,
            "per_class_accuracy": {str(number): rng.uniform(0, 100) for number in range(10)},
            "curve": {
                "train_loss": [rng.random() for _ in range(30)],
                "accuracy": {str(epoch): rng.uniform(0, 100) for epoch in range(5, 31, 5)},
            },
        },
        "compressed": {
            "images": 144,
            "bytes": 9360,
            "full_images": 1437,
            "full_bytes": 93405,
            "class_counts": [14] * 10,
            "notes": {"importance": [selection.random() for _ in range(10)]},
        },
        "cost": {
            "selection_s": 0.5,
            "training_s": rng.random(),
            "testing_s": 0.25,
            "steps": 150,
            "images_seen": 4320,
            "artefacts": {
                f"{kind}-2-{selection.getrandbits(80):020x}": {
                    "kind": kind,
                    "seconds": selection.random(),
                    "device": "cpu",
                }
                for kind in kinds
            },
        },
        "weights_digest": f"{rng.getrandbits(128):032x}",
        "provenance": {
            "device": {"device": "cpu", "threads": 2},
            "source": {
                "version": "0",
                "commit": "c" * 40,
                "uncommitted_changes": False,
                "digest": "d" * 16,
            },
            "machine": {"host": "h", "processor": "p" * 40, "cores": 2},
            "packages": {"torch": "2"},
        },
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A results folder with COUNT records, one file each."""
    place = tmp_path_factory.mktemp("store")
    Results(place).prepare()
    (place / "records").mkdir()
    rng = random.Random(0)
    for cell in Plan.of(sweep()).cells[:COUNT]:
        selection = random.Random(f"{cell.method.spec} {cell.budget.label} {cell.selection_seed}")
        made = content(cell, selection, rng)
        text = json.dumps({**made, "checksum": digest(made)})
        (place / "records" / f"{cell.id}.json").write_text(text)
    return place


@pytest.mark.benchmark(group="records")
def test_records_one_by_one(benchmark, folder):
    results = Results(folder)
    names = [path.stem for path in (folder / "records").iterdir()]
    read = benchmark.pedantic(lambda: sum(results.record(name) is not None for name in names))
    assert read == COUNT


@pytest.mark.benchmark(group="records")
def test_records_consolidated(benchmark, folder):
    assert sum(1 for _ in Results(folder).records()) == COUNT
    assert (folder / "consolidated.zip").exists()
    read = benchmark.pedantic(lambda: sum(1 for _ in Results(folder).records()), rounds=3)
    assert read == COUNT


@pytest.mark.benchmark(group="records")
def test_the_tidy_table(benchmark, folder):
    table = benchmark.pedantic(load, (folder,), rounds=3, warmup_rounds=1)
    assert len(table) == COUNT


@pytest.mark.slow
@pytest.mark.benchmark(group="report")
def test_report_without_figures(benchmark, folder):
    from reports.report import write_report

    # Consolidating belongs to the first reading of new records, whoever reads them.
    assert sum(1 for _ in Results(folder).records()) == COUNT

    def report():
        records = Results(folder).records(details=False)
        return write_report(folder, records, (), ("md",), anew=True, figures=False)

    (path,) = benchmark.pedantic(report, rounds=1)
    assert f"Complete cells: {COUNT}" in path.read_text(encoding="utf-8")
