"""What records say of costs and failures."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from bench import calibration, devices, execution, training, working
from bench.allocation import Share
from bench.augment import Normalisation
from bench.budgets import Budget
from bench.calibration import Calibration, calibrate
from bench.cells import Plan, Sweep
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.metering import DeviceTimer, ProcessorShare
from bench.models import MODELS
from bench.progress import Progress
from bench.protocols import PROTOCOLS
from bench.recording import OUT_OF_MEMORY, cause_of, fitting_advice, hours, training_cost
from bench.results import Results


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 TB"),
    ],
)
def test_running_out_of_memory_is_told_with_what_would_help(error):
    cause, message = cause_of(error, "cpu")
    assert cause == OUT_OF_MEMORY
    assert "GB in all" in message
    assert "smaller batch" in message
    assert len(message.splitlines()) == 1


def test_a_real_allocation_that_does_not_fit_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert cause_of(caught.value, "cpu")[0] == OUT_OF_MEMORY


def test_other_errors_keep_their_type_and_message():
    assert cause_of(ValueError("the pool is empty"), "cpu") == ("ValueError", "the pool is empty")
    assert cause_of(KeyError(), "cpu") == ("KeyError", "KeyError")


def test_the_calibration_is_positive_and_measured_once():
    found = calibrate("cpu")
    assert min(found.to_json().values()) > 0
    assert calibrate("cpu") is found
    assert found.peak("bf16") == found.bf16


def test_costs_follow_the_steps_and_the_measured_time():
    splits = DATASETS.make_one("digits").load(Source())
    train = splits.train.subset(np.arange(64))
    job = training.Job(
        model=MODELS.make_one("resnet8[width=4]"),
        protocol=PROTOCOLS.make_one("smoke[epochs=2]"),
        train=train,
        test=None,
        normalisation=Normalisation.of(train.images),
        seed=0,
        device="cpu",
    )
    _, curve = training.run(job)
    cost = training_cost(job, curve)
    assert (cost["steps"], cost["images_seen"]) == (4, 128)
    assert cost["operations_per_s"] * cost["training_s"] == pytest.approx(
        cost["training_operations"]
    )
    assert 0 < cost["share_of_peak"] < 1.5


@pytest.mark.parametrize(
    "told",
    [
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)",
        "could not create a primitive",  # oneDNN, on a processor
    ],
)
def test_the_libraries_of_a_device_run_out_of_memory_in_their_own_words(told):
    assert cause_of(RuntimeError(told), "cpu")[0] == OUT_OF_MEMORY


def test_what_onednn_cannot_compute_is_no_want_of_memory():
    told = "could not create a primitive descriptor for a convolution forward propagation primitive"
    assert cause_of(RuntimeError(told), "cpu") == ("RuntimeError", told)


class Event:
    """A CUDA event: recorded at a millisecond of the device's clock, read once it is reached."""

    clock = iter((10.0, 2010.0, 2510.0))

    def __init__(self, enable_timing):
        assert enable_timing
        self.is_reached = False

    def record(self):
        self.at = next(self.clock)

    def synchronize(self):
        self.is_reached = True

    def elapsed_time(self, end):
        assert end.is_reached
        return end.at - self.at


def test_a_gpus_seconds_are_those_of_its_own_clock(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    timer = DeviceTimer(torch.device("cuda"))
    assert (timer.lap(), timer.lap()) == (2.0, 0.5)


def job_with(spec, device="cpu"):
    train = DATASETS.make_one("digits").load(Source()).train.subset(np.arange(64))
    return training.Job(
        model=MODELS.make_one("resnet8[width=4]"),
        protocol=PROTOCOLS.make_one(spec),
        train=train,
        test=None,
        normalisation=Normalisation.of(train.images),
        seed=0,
        device=device,
    )


def test_the_batch_that_fits_is_told_with_all_that_was_asked_for(monkeypatch):
    monkeypatch.setattr("bench.fitting.fitting_batch", lambda job: 8)
    told = fitting_advice(job_with("smoke[epochs=2,optimizer=adamw]"))
    assert told.endswith("fits: smoke[epochs=2,batch_size=8,optimizer=adamw]")


def test_a_calibration_without_memory_costs_no_cell(monkeypatch):
    def refuse(device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("bench.calibration.calibrate", refuse)
    cost = training_cost(job_with("smoke"), training.Curve(training_s=2.0))
    assert (cost["share_of_peak"], cost["calibration"]) == (None, None)
    assert cost["operations_per_s"] > 0


@pytest.mark.parametrize(("device", "devices"), [("cuda", 2), ("cpu", 1)])
def test_the_peak_is_that_of_all_devices_and_a_processor_is_one(monkeypatch, device, devices):
    best = Calibration(1e9, 1e9, 1e9)
    monkeypatch.setattr("bench.calibration.calibrate", lambda device: best)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    job, curve = job_with("smoke", device), training.Curve(training_s=3600.0, before_s=7.0)
    cost = training_cost(job, curve, processes=2)
    assert cost["share_of_peak"] == pytest.approx(cost["operations_per_s"] / 1e9 / devices)
    assert cost["before_s"] == 7.0
    told = hours(job, curve, {}, processes=2)
    assert told["gpu_hours" if device == "cuda" else "cpu_hours"] == devices


def test_the_share_of_a_processor_is_kept_where_training_had_nothing_to_wait_for(monkeypatch):
    best = Calibration(1e9, 1e9, 1e9)
    monkeypatch.setattr("bench.calibration.calibrate", lambda device: best)
    alone, streamed = training.Curve(training_s=2.0), training.Curve(is_streamed=True)

    def told(device, curve, processes=1):
        cost = training_cost(job_with("smoke", device), curve, 1, processes, on_processor=0.4)
        return cost["processor_share"]

    assert told("cpu", alone) == 0.4
    assert told("cpu", alone, processes=2) is None
    assert told("cpu", streamed) is None
    assert told("cuda", alone) is None


def test_the_share_of_a_processor_is_the_threads_own_time_by_that_of_the_clock(monkeypatch):
    clock, own = iter((10.0, 30.0)), iter((1.0, 6.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(time, "thread_time", lambda: next(own))
    assert ProcessorShare().read() == 0.25


@pytest.mark.parametrize(("device", "spent"), [("cuda", 0.25), ("cpu", 1.0)])
def test_packed_cells_share_the_hours_of_their_gpu(device, spent):
    told = hours(job_with("smoke", device), training.Curve(training_s=3600.0), {}, packed=4)
    assert told["gpu_hours" if device == "cuda" else "cpu_hours"] == spent


def test_every_look_at_an_image_is_computed():
    curve = training.Curve(training_s=1.0)
    once, thrice = (
        training_cost(job_with(f"smoke[augmentation_splits={looks}]"), curve) for looks in (1, 3)
    )
    assert thrice["training_operations"] == 3 * once["training_operations"]
    assert thrice["images_seen"] == once["images_seen"]


def test_used_time_is_that_of_this_run_alone(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    artefacts = {"bins-1": {"seconds": 9.0, "before_s": 4.0}}
    cost = {"training_s": 50.0, "testing_s": 10.0, "before_s": 40.0, "artefacts": artefacts}
    assert Share(1, 60.0, 1, 1, 0.0).next(cost)["used_s"] == 20.0 + 5.0


def small_plan(seeds):
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        methods=METHODS.make("random"),
        budgets=[Budget.parse("5")],
        models=[MODELS.make_one("resnet8[width=4]")],
        protocols=[PROTOCOLS.make_one("smoke[epochs=1]")],
        seeds=seeds,
    )
    return Plan.of(sweep)


@pytest.mark.parametrize("phase", ["selection", "training"])
def test_captured_graphs_are_dropped_wherever_memory_ran_out(monkeypatch, tmp_path, phase):
    splits = DATASETS.make_one("digits").load(Source())
    worker = working.Worker(Results(tmp_path), splits, "cpu", Progress())
    worker._phase, worker._trainers._kept = phase, ("key", object())
    worker._told(torch.OutOfMemoryError("CUDA out of memory"))
    assert worker._trainers._kept is None
    worker._trainers._kept = ("key", object())
    worker._told(ValueError("no memory's fault"))
    assert worker._trainers._kept is not None


def test_the_second_gpu_is_measured_where_it_is_the_one_that_works(monkeypatch):
    asked = []
    for name in ("synchronize", "max_memory_reserved", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device=None: asked.append(device) or 5)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    second = torch.device("cuda:1")
    calibration._best(lambda: None, second)
    assert devices.answers("cuda:1")
    devices.forget_peak_memory("cuda:1")
    assert devices.peak_memory_bytes("cuda:1") == 5
    assert set(asked) == {second}
    assert devices.peak_memory_bytes("cpu") is None


def test_what_a_broken_capture_keeps_of_a_gpu_is_no_error_and_what_torch_keeps_is_free(monkeypatch):
    def refuse():
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    devices.free_memory()
    for name, value in {
        "memory_reserved": 7,
        "memory_allocated": 3,
        "mem_get_info": (20, 80),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, _value=value: _value)
    assert devices.free_bytes("cuda") == 24


def test_a_gpu_that_cannot_be_begun_with_is_a_failure_too(monkeypatch, tmp_path):
    def busy(*given):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nMore.")

    for name in ("init", "get_device_properties", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, busy)
    results, (cell,) = Results(tmp_path), small_plan(seeds=1).cells
    splits = DATASETS.make_one("digits").load(Source())
    worker = working.Worker(results, splits, "cuda", Progress())
    assert worker.attend(cell) is working.State.FAILED
    assert worker.has_lost_device
    failure = results.failure(cell.id)
    assert (failure["type"], failure["phase"]) == ("RuntimeError", "start")
    assert failure["device_peak_memory_bytes"] == 0
    assert failure["provenance"]["device"]["error"].endswith("busy or unavailable")


def test_a_cells_peak_of_memory_begins_with_it_and_leaves_the_calibration_out(
    monkeypatch, tmp_path
):
    """What an earlier cell or test held, and what the calibration takes, are none of its peak."""
    held = {"now": 3, "most": 81_000}

    def hold(count):
        held["most"] = max(held["most"], held["now"] + count)

    run, calibrate = training.run, calibration._measured
    monkeypatch.setattr(working, "forget_peak_memory", lambda device: held.update(most=held["now"]))
    monkeypatch.setattr(devices, "peak_memory_bytes", lambda device: held["most"])
    monkeypatch.setattr(training, "run", lambda *a, **named: hold(10) or run(*a, **named))
    monkeypatch.setattr(calibration, "_measured", lambda device: hold(2250) or calibrate(device))
    calibration.calibrate.cache_clear()
    results = Results(tmp_path)
    execution.execute(small_plan(seeds=2), results, Source(), "cpu")
    peaks = [one["cost"]["device_peak_memory_bytes"] for one in results.records()]
    assert peaks == [13, 13]
