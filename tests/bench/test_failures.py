"""Failures: each has its cause, and none keeps the other cells from their results."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from bench import devices, execution, fitting, stepping, training, working
from bench.budgets import Budget
from bench.cells import Plan, Sweep
from bench.checkpoints import Checkpoint
from bench.contract import METHODS, CompressedSet, Method, MethodInfo
from bench.datasets import DATASETS, Source
from bench.errors import ProcessError, StorageError
from bench.models import MODELS
from bench.progress import Progress
from bench.protocols import PROTOCOLS
from bench.recording import OUT_OF_MEMORY
from bench.results import Results


def plan_of(methods="random", protocol="smoke[epochs=1]", seeds=1, ratio="10"):
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        methods=METHODS.make(methods),
        budgets=[Budget.parse(ratio)],
        models=[MODELS.make_one("resnet8[width=4]")],
        protocols=PROTOCOLS.make(protocol),
        seeds=seeds,
    )
    return Plan.of(sweep)


@pytest.fixture
def method(own_methods):
    """Return a function that registers a method for one test."""

    def register(name, compress):
        @METHODS.register(name)
        @dataclass(frozen=True)
        class Made(Method):
            info: ClassVar[MethodInfo] = MethodInfo(
                title="t", paper="none", year=2026, kind="selection", code="here"
            )

            def compress(self, train, budget, ctx):
                return compress(self, train, budget, ctx)

    return register


def run(plan, folder):
    results = Results(folder)
    return execution.execute(plan, results, Source(), "cpu"), results


def failures_by_cell(plan, results):
    found = (results.failure(cell.id) for cell in plan.cells)
    return [failure and (failure["type"], failure["phase"]) for failure in found]


def test_a_loss_that_is_not_finite_fails_its_cells_alone(tmp_path):
    plan = plan_of(protocol="smoke[epochs=3],smoke[epochs=3,learning_rate=1e30,warmup_epochs=0]")
    outcome, results = run(plan, tmp_path)
    assert len(outcome.computed) == 1
    assert failures_by_cell(plan, results) == [None, ("LossNotFiniteError", "training")]


def test_a_class_without_an_image_has_a_cause_of_its_own(tmp_path, method):
    def compress(self, train, budget, ctx):
        return CompressedSet(np.flatnonzero(train.labels != 3)[:144])

    method("blind", compress)
    plan = plan_of("blind,random")
    outcome, results = run(plan, tmp_path)
    assert len(outcome.computed) == 1
    assert failures_by_cell(plan, results) == [("MissingClassError", "preparation"), None]
    assert "class '3' has no image" in results.failure(plan.cells[0].id)["message"]


def test_a_batch_larger_than_the_set_is_the_set_and_the_record_says_so(tmp_path):
    plan = plan_of(protocol="smoke[epochs=1,batch_size=1000]")
    _, results = run(plan, tmp_path)
    record = results.record(plan.cells[0].id)
    assert (record["engine"]["batch_size"], record["cost"]["steps"]) == (144, 1)


def test_a_gpu_that_fails_under_a_cell_fails_no_other_one(tmp_path, monkeypatch):
    """After an illegal access every later call of a process fails: the rest has another one."""
    told = "CUDA error: an illegal memory access was encountered"
    run, fresh = training.run, []

    def fail(job, *others, **named):
        if not fresh:
            raise RuntimeError(told)
        return run(job, *others, **named)

    def crew(setting, results, progress):
        fresh.append(setting)
        splits = DATASETS.make_one("digits").load(Source())
        worker = working.Worker(results, splits, setting.device, progress, setting.packed)
        return contextlib.nullcontext(execution.Alone(worker))

    monkeypatch.setattr(training, "run", fail)
    monkeypatch.setattr(working, "answers", lambda device: bool(fresh))
    monkeypatch.setattr(execution, "Crew", crew)
    plan, warnings = plan_of(seeds=3), []
    results = Results(tmp_path, warnings.append)
    outcome = execution.execute(plan, results, Source(), "cpu")
    assert outcome.failed == [plan.cells[0].id]
    assert outcome.computed == [cell.id for cell in plan.cells[1:]]
    assert failures_by_cell(plan, results) == [("RuntimeError", "training"), None, None]
    assert results.failure(plan.cells[0].id)["message"] == told
    assert [setting.packed for setting in fresh] == [1]
    assert "takes no more work from this process" in warnings[0]


def test_a_device_answers_unless_it_refuses_to_be_waited_for(monkeypatch):
    def refuse(device):
        raise RuntimeError("CUDA error: device-side assert triggered")

    assert devices.answers("cpu")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert devices.answers("cuda")
    monkeypatch.setattr(torch.cuda, "synchronize", refuse)
    assert not devices.answers("cuda")


@pytest.fixture
def little_memory(monkeypatch):
    """A device on which batches of up to 20 images fit."""
    backward = stepping.Trainer._backward

    def limited(self, images, *others):
        if len(images) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        backward(self, images, *others)

    monkeypatch.setattr(stepping.Trainer, "_backward", limited)


def test_out_of_memory_tells_which_batch_would_fit_and_that_batch_does(tmp_path, little_memory):
    plan = plan_of(protocol="smoke[epochs=1,batch_size=64],smoke[epochs=1,batch_size=16]")
    outcome, results = run(plan, tmp_path)
    assert outcome.computed == [plan.cells[1].id]
    failure = results.failure(plan.cells[0].id)
    assert failure["type"] == "OutOfMemory"
    assert "A batch of 16 instead of 64 fits: smoke[epochs=1,batch_size=16]" in failure["message"]


def test_out_of_memory_in_one_of_several_processes_tells_which_batch_would_fit(
    tmp_path, little_memory, monkeypatch
):
    def fail(order, progress):
        raise ProcessError(OUT_OF_MEMORY, "process 1 of 2: out of memory on cuda:1")

    monkeypatch.setattr(working, "train_together", fail)
    results = Results(tmp_path)
    plan = plan_of(protocol="smoke[epochs=1,batch_size=64]")
    execution.execute(plan, results, Source(), "cpu", gpus_per_cell=2)
    (failure,) = results.failures()
    assert failure["type"] == OUT_OF_MEMORY
    assert failure["message"] == (
        "A batch of 32 instead of 64 fits: smoke[epochs=1]. "  # 16 in each of them
        "process 1 of 2: out of memory on cuda:1"
    )


def test_where_nothing_fits_that_is_told(tmp_path, monkeypatch):
    def never(self, *others):
        raise MemoryError

    monkeypatch.setattr(stepping.Trainer, "_backward", never)
    plan = plan_of()
    _, results = run(plan, tmp_path)
    message = results.failure(plan.cells[0].id)["message"]
    assert "Not even a batch of one image fits" in message


def test_trying_what_fits_tries_half_and_half_again(monkeypatch):
    tried = []

    def fits(job, size):
        tried.append(size)
        return size <= 5

    monkeypatch.setattr(fitting, "_fits", fits)

    class Job:
        protocol = PROTOCOLS.make_one("paper")
        train = range(1000)
        load = None

    assert fitting.fitting_batch(Job()) == 4
    assert tried == [64, 32, 16, 8, 4]


def test_a_checkpoint_that_cannot_be_written_costs_no_result(tmp_path, monkeypatch):
    def refuse(self, state):
        raise StorageError("cannot write: No space left on device")

    monkeypatch.setattr(Checkpoint, "save", refuse)
    plan = plan_of(protocol="smoke[epochs=2]")
    outcome, results = run(plan, tmp_path)
    assert len(outcome.computed) == 1
    engine = results.record(plan.cells[0].id)["engine"]
    assert "No space left" in engine["unsaved_checkpoint"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_fails_the_cell_that_does_not_fit_and_the_next_run_takes_it_up(
    small_disk, method
):
    def compress(self, train, budget, ctx):
        images = np.random.default_rng(0).random((144, 8, 8, 1), np.float32)  # 37 kB
        return CompressedSet(np.arange(144), images=images)

    method("heavy", compress)
    plan = plan_of("heavy,random")
    results = Results(small_disk / "results")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"0" * (512 - 40) * 1024)
    outcome = execution.execute(plan, results, Source(), "cpu")
    assert outcome.failed[:1] == [plan.cells[0].id]
    failure = results.failure(plan.cells[0].id)
    assert failure["type"] == "DiskFullError"
    assert "The disk is full: free some space" in failure["message"]
    ballast.unlink()
    outcome = execution.execute(plan, results, Source(), "cpu")
    assert not outcome.failed
    assert not list(results.failures())


def test_a_disk_without_room_for_a_failure_ends_the_run(small_disk):
    plan = plan_of(seeds=2)
    results = Results(small_disk / "results")
    results.prepare()
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"0" * 600 * 1024)
    with pytest.raises(StorageError, match="The disk is full"):
        execution.execute(plan, results, Source(), "cpu")


@pytest.fixture
def left_behind(monkeypatch):
    """Return a function that has a process take a cell's lease and die; gives its number."""

    def leave(results, cell):
        process = subprocess.Popen(["sleep", "60"])
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: process.pid)
            lease = results.leases.try_take(cell.id)
        lease._stop.set()  # no heartbeat any more
        process.kill()
        process.wait()
        return process.pid

    return leave


class Watch(Progress):
    """Looks for a cell's failure when the first one begins."""

    def __init__(self, results, cell):
        self.found = []
        self._look = lambda: self.found.append(results.failure(cell.id))

    def cell_started(self, cell):
        self._look()


def test_a_cell_that_a_killed_process_left_is_told_and_computed_last(tmp_path, left_behind):
    plan, results = plan_of(seeds=3), Results(tmp_path)
    process = left_behind(results, plan.cells[0])
    watch = Watch(results, plan.cells[0])
    outcome = execution.execute(plan, results, Source(), "cpu", watch)
    assert watch.found[0]["type"] == "Killed"
    assert f"{process} ended without a word" in watch.found[0]["message"]
    assert outcome.computed == [plan.cells[number].id for number in (1, 2, 0)]
    assert not list(results.failures())


def test_a_job_that_is_requeued_goes_on_from_what_was_killed(tmp_path, left_behind):
    plan, results = plan_of(seeds=2), Results(tmp_path)
    left_behind(results, plan.cells[0])
    watch = Watch(results, plan.cells[0])
    outcome = execution.execute(plan, results, Source(), "cpu", watch, tells_killed=False)
    assert watch.found == [None, None]
    assert outcome.computed == [cell.id for cell in plan.cells]
