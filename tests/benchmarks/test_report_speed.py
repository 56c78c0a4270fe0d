"""How long a report takes: ten thousand records, every table, no figures.

Measured for the issue: within 5 s. The plain reference only makes the rows.
"""

from __future__ import annotations

import json
import random

import pytest

from reports.collection import Collection
from reports.report import write_report

RECORDS = 10_000
METHODS = [
    "random", "dq", "adq", "herding", "kcenter",
    *(f"adq[alpha={k / 10:g}]" for k in range(15)),
]  # fmt: skip
RATIOS = ("1", "5", "10", "20", "30")
SEEDS = 5


def record(number: int, rng: random.Random) -> dict[str, object]:
    rest, seed = divmod(number, SEEDS)
    rest, ratio = divmod(rest, len(RATIOS))
    setting, method = divmod(rest, len(METHODS))
    spec, percent = METHODS[method], RATIOS[ratio]
    kept = round(500 * float(percent))
    accuracy = 50 + float(percent) + rng.random()
    parameters = {f"p{k}": k for k in range(25)}
    return {
        "schema": 1,
        "id": f"cell-2-{number:020x}",
        "specs": {"dataset": "cifar10", "method": spec, "model": "resnet18",
                  "protocol": f"paper[epochs={setting + 1}]"},
        "method": {"seeded": True, "edition": "paper", "reconstruction": False},
        "cell": {
            "dataset": {"name": "cifar10", "version": 1, "fingerprint": "made-up"},
            "method": {"name": spec.split("[")[0], "version": 1, "parameters": {"spec": spec}},
            "model": {"name": "resnet18", "version": 1, "parameters": {"width": 64}},
            "budget": {"percent": percent, "of": "images"},
            "selection_seed": seed,
            "training_seed": seed,
            "protocol": {"name": "paper", "version": 1,
                         "parameters": {"epochs": setting + 1, **parameters}},
        },
        "metrics": {"accuracy": accuracy, "best_accuracy": accuracy + 0.2},
        "compressed": {"images": kept, "bytes": 3073 * kept, "full_images": 50000,
                       "full_bytes": 3073 * 50000},
        "cost": {"selection_s": 0.5, "training_s": 9.0, "testing_s": 0.1, "steps": 100,
                 "images_seen": 1000, "artefacts": {}},
        "provenance": {
            "source": {"version": "0.1.0", "commit": "0123456789abcdef",
                       "uncommitted_changes": False, "digest": "d"},
            "machine": {"processor": "a processor", "host": "a"},
            "packages": {"torch": "2.0"},
            "device": {"device": "cpu", "threads": 2},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def many() -> list[dict[str, object]]:
    rng = random.Random(0)
    return [json.loads(json.dumps(record(number, rng))) for number in range(RECORDS)]


@pytest.mark.slow
@pytest.mark.benchmark(group="report of 10,000 records")
@pytest.mark.parametrize("formats", ["md", "md,html,csv,json,latex"])
def test_report(benchmark, many, tmp_path, monkeypatch, formats):
    monkeypatch.setenv("PATH", "")  # pdflatex has its own time
    paths = benchmark.pedantic(
        write_report,
        args=(tmp_path, many, (), formats.split(",")),
        kwargs={"anew": True, "figures": False},
        rounds=3,
        warmup_rounds=1,
    )
    assert paths[0].stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.benchmark(group="report of 10,000 records")
def test_rows_only(benchmark, many):
    results = benchmark.pedantic(Collection.of, args=(many,), rounds=3, warmup_rounds=1)
    assert len(results.rows) == RECORDS
