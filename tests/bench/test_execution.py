from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from bench import execution
from bench.budgets import Budget
from bench.cells import Plan, Sweep
from bench.contract import METHODS, CompressedSet, Method, MethodInfo
from bench.datasets import DATASETS, Source
from bench.errors import DeviceError
from bench.models import MODELS
from bench.progress import Progress
from bench.protocols import PROTOCOLS
from bench.results import Results
from bench.working import Worker

INFO = MethodInfo(title="t", paper="none", year=2026, kind="selection", code="here")


@pytest.fixture
def register(own_methods):
    """Return a function that registers a method for one test."""

    def enter(name, compress):
        @METHODS.register(name)
        @dataclass(frozen=True)
        class Made(Method):
            info: ClassVar[MethodInfo] = INFO

            def compress(self, train, budget, ctx):
                return compress(self, train, budget, ctx)

        return METHODS.make_one(name)

    return enter


def plan_of(*methods, seeds=1):
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        methods=methods,
        budgets=[Budget.parse("10")],
        models=[MODELS.make_one("resnet8[width=4]")],
        protocols=[PROTOCOLS.make_one("smoke[epochs=1]")],
        seeds=seeds,
    )
    return Plan.of(sweep)


def run(plan, folder):
    results = Results(folder)
    return execution.execute(plan, results, Source(), "cpu"), results


def test_a_method_that_breaks_the_budget_fails_and_is_computed_anew_once_mended(register, tmp_path):
    kept = {"count": 5}

    def compress(self, train, budget, ctx):
        return CompressedSet(np.arange(kept["count"]))

    plan = plan_of(register("greedy", compress))
    outcome, results = run(plan, tmp_path)
    (cell,) = plan.cells
    assert outcome.failed == [cell.id]
    assert "kept 5 images; 10 % of 1437 is 144" in results.failure(cell.id)["message"]
    kept["count"] = 144
    outcome, results = run(plan, tmp_path)
    assert outcome.computed == [cell.id]
    assert results.record(cell.id)["compressed"]["images"] == 144


@pytest.mark.parametrize(
    ("indices", "told"),
    [(np.zeros(144, int), "twice"), (np.arange(144) + 1400, "outside 0 to 1436")],
)
def test_images_kept_twice_or_outside_of_the_split_are_refused(register, tmp_path, indices, told):
    method = register("odd", lambda self, train, budget, ctx: CompressedSet(indices))
    plan = plan_of(method)
    _, results = run(plan, tmp_path)
    assert told in results.failure(plan.cells[0].id)["message"]


def test_a_method_is_given_the_training_split_alone(register, tmp_path):
    seen = {}

    def compress(self, train, budget, ctx):
        seen.update(images=len(train), context=dir(ctx))
        return CompressedSet(np.arange(144))

    run(plan_of(register("curious", compress)), tmp_path)
    assert seen["images"] == 1437
    assert not [name for name in seen["context"] if "test" in name or "split" in name]


def test_the_test_split_is_no_part_of_the_training_split():
    splits = DATASETS.make_one("digits").load(Source())
    assert not set(splits.train.keys) & set(splits.test.keys)


def test_a_record_tells_what_is_needed_to_judge_it(tmp_path):
    plan = plan_of(METHODS.make_one("random"))
    _, results = run(plan, tmp_path)
    record = results.record(plan.cells[0].id)
    assert record["metrics"]["epoch"] == 1
    assert set(record["metrics"]["per_class_accuracy"]) == {str(digit) for digit in range(10)}
    assert record["compressed"]["class_counts"] == [14, 15, 14, 15, 15, 15, 14, 14, 14, 14]
    assert record["cost"]["steps"] == 5
    assert record["cost"]["images_seen"] == 144
    assert record["normalisation"]["mean"][0] == pytest.approx(0.305, abs=0.01)
    assert record["normalisation"]["source"] == "measured on the training split"
    assert record["provenance"]["method"]["module"] == "methods.random"
    assert record["provenance"]["device"]["threads"] == 1
    assert len(record["weights_digest"]) == 32


@pytest.mark.parametrize("asked", ["cpu", "auto"])
def test_a_torch_that_cannot_be_loaded_is_told_in_a_line(monkeypatch, asked):
    monkeypatch.setitem(sys.modules, "torch", None)  # its import fails, as under a limit of memory
    with pytest.raises(DeviceError, match=r"^torch cannot be loaded: .*ulimit -v") as caught:
        execution.resolve_device(asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("threads", "told"), [(1, []), (2, ["2 threads are more"])])
def test_more_threads_than_cores_are_told(tmp_path, monkeypatch, threads, told):
    monkeypatch.setattr("bench.resources.cores", lambda: 1)
    warnings = []
    plan, results = plan_of(METHODS.make_one("random")), Results(tmp_path, warnings.append)
    execution.execute(plan, results, Source(), "cpu", threads=threads)
    assert [warning.partition(" than")[0] for warning in warnings] == told


def test_training_seeds_give_all_methods_the_same_start(tmp_path):
    from bench.training import fresh_network, weights_digest

    train = DATASETS.make_one("digits").load(Source()).train
    model = MODELS.make_one("resnet8")
    whole, part = train, train.subset(np.arange(50))
    starts = [weights_digest(fresh_network(model, split, 3)) for split in (whole, part)]
    assert starts[0] == starts[1]


@pytest.mark.parametrize(("ratio", "batch"), [("10", 16), ("10.2", 128), ("10b", 16)])
def test_a_tenth_is_a_tenth_where_its_images_were_rounded_up(tmp_path, ratio, batch):
    cell = plan_of(*METHODS.make("random")).cells[0]
    released = PROTOCOLS.make_one("released[epochs=1]")
    cell = dataclasses.replace(cell, budget=Budget.parse(ratio), protocol=released)
    splits = DATASETS.make_one("digits").load(Source())
    worker = Worker(Results(tmp_path), splits, "cpu", Progress())
    job = worker.prepare(cell).job
    assert len(job.train) / len(splits.train) > 0.1 or cell.budget.of == "bytes"
    assert job.protocol.batch(job.load) == batch
    assert job.protocol.batch(execution.expected_load(cell, len(splits.train))) == batch
