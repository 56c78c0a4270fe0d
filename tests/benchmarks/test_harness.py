"""What a cell costs besides training, testing and artefacts: cells against bare training runs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bench import training
from bench.budgets import Budget
from bench.cells import Plan, Sweep
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.execution import execute, prepare_torch
from bench.models import MODELS
from bench.normalising import normalisation_for
from bench.protocols import PROTOCOLS
from bench.results import Results

CELLS = 5


def sweep(seeds, first=0):
    return Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint=f"from {first}",
        methods=METHODS.make("random"),
        budgets=[Budget.parse("10")],
        models=[MODELS.make_one("resnet8")],
        protocols=[PROTOCOLS.make_one("smoke[test_every=30]")],
        seeds=seeds,
    )


@pytest.mark.benchmark(group=f"{CELLS} cells of the digits, smoke, 10 %")
def test_plain_runs(benchmark):
    prepare_torch(1)
    splits = DATASETS.make_one("digits").load(Source())
    cells = Plan.of(sweep(CELLS)).cells
    train = splits.train.subset(np.arange(0, 1437, 10))

    def runs():
        for cell in cells:
            normalisation = normalisation_for(cell.protocol.normalisation, splits.train)
            training.run(
                training.Job(
                    cell.model, cell.protocol, train, splits.test, normalisation,
                    cell.training_seed, "cpu",
                )
            )  # fmt: skip

    benchmark.pedantic(runs, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group=f"{CELLS} cells of the digits, smoke, 10 %")
def test_ours(benchmark, tmp_path):
    source, overheads, rounds = Source(), [], iter(range(100))

    def cells():
        number = next(rounds)
        plan, results = Plan.of(sweep(CELLS, number)), Results(tmp_path / str(number))
        results.prepare()
        start = time.perf_counter()
        outcome = execute(plan, results, source, "cpu")
        passed = time.perf_counter() - start
        assert len(outcome.computed) == CELLS
        for record in results.records():
            cost = record["cost"]
            passed -= cost["training_s"] + cost["testing_s"] + cost["selection_s"]
        overheads.append(1000 * passed / CELLS)

    benchmark.pedantic(cells, rounds=3, warmup_rounds=1)
    benchmark.extra_info["overhead_ms_per_cell"] = min(overheads)
    print(f"\nharness: {min(overheads):.1f} ms a cell")
