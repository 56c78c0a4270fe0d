"""What a record says of one cell: accuracies, operations, seconds; or why it failed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import devices
from bench.errors import ProcessError
from bench.metering import peak_memory_bytes, told_bytes
from bench.resources import physical_memory
from bench.team import threads_of_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.contract import ImageDataset
    from bench.jobs import Curve, Job
    from bench.models.networks import Network

OUT_OF_MEMORY = "OutOfMemory"
"""The cause of failures that more memory, or smaller batches, would mend."""
KILLED = "Killed"
"""The cause of failures of cells whose process ended without a word."""


def metrics(curve: Curve, test: ImageDataset) -> dict[str, Any]:
    """Return a run's accuracies in percent; the last epoch is the result.

    The best epoch is chosen on the test split and therefore optimistic.
    """
    counts = test.class_counts.tolist()
    by_epoch = {epoch: 100 * sum(right) / len(test) for epoch, right in curve.tests.items()}
    last = max(by_epoch)
    best = max(by_epoch, key=lambda epoch: (by_epoch[epoch], -epoch))
    per_class = [100 * r / n for r, n in zip(curve.tests[last], counts, strict=True)]
    return {
        "accuracy": by_epoch[last],
        "epoch": last,
        "best_accuracy": by_epoch[best],
        "best_epoch": best,
        "per_class_accuracy": dict(zip(test.classes, per_class, strict=True)),
        "test_images": len(test),
        "curve": {
            "train_loss": curve.train_loss,
            "accuracy": {str(epoch): value for epoch, value in by_epoch.items()},
        },
    }


def model_facts(job: Job, network: Network) -> dict[str, Any]:
    """Return a network's size: parameters, and operations of one image's forward pass."""
    from bench.adapting import tested_parameters
    from bench.operations import operations_per_image

    classes = len(job.train.classes)
    return {
        "parameters": tested_parameters(network),
        "operations_per_image": operations_per_image(job.model, job.train.shape, classes),
        "uses_pretrained_weights": job.model.uses_pretrained_weights,
        "pretrained_weights": network.pretrained,
        "our_choice": job.model.choice,
    }


def engine_facts(job: Job, curve: Curve, packed: int, processes: int = 1) -> dict[str, Any]:
    """Return how a network was trained, where the protocol leaves that to the device or the set.

    The batch size is that of the largest batch; ``packed`` are the cells that were
    computed on the device at a time, ``processes`` those that trained this one together.
    """
    return {
        "precision": curve.precision,
        "precision_reason": curve.precision_reason,
        "convolutions_by_place": curve.by_place,
        "batch_size": job.protocol.largest_batch(job.load),
        "is_captured": curve.is_captured,
        "capture_failure": curve.capture_failure or None,
        "packed": packed,
        "processes": processes,
        "images": "streamed" if curve.is_streamed else "on the device",
        "images_reason": curve.feeding_reason,
        "our_choice": job.protocol.choice or None,
        "unsaved_checkpoint": curve.unsaved or None,
    }


def training_cost(
    job: Job, curve: Curve, packed: int = 1, processes: int = 1, on_processor: float | None = None
) -> dict[str, Any]:
    """Return what training and testing took, and how near to the machine's best it came.

    ``on_processor`` is the share of the time that training's thread was on a processor, since the
    last checkpoint that it went on from. It is kept where that thread had nothing to wait for: no
    GPU, no other process, no images that stream.

    The joules are the whole GPU's, and therefore nobody's where cells are packed.

    Operations count multiplications and additions; those of training are three times those of
    the forward passes, of every look at an image. The peak is the calibration's,
    measured in this process, times the devices that took part; None where it found no memory.
    """
    from bench.calibration import calibration_of
    from bench.operations import TRAINING_FACTOR, operations_per_image

    seen = job.protocol.images_seen(job.load)
    each = operations_per_image(job.model, job.train.shape, len(job.train.classes))
    operations = TRAINING_FACTOR * each * seen * job.protocol.augmentation_splits
    calibration = calibration_of(job.device)
    rate = operations / curve.training_s if curve.training_s else 0.0
    return {
        "training_s": curve.training_s,
        "testing_s": curve.testing_s,
        "before_s": curve.before_s,
        "elsewhere_s": curve.elsewhere_s,
        "energy_j": curve.energy_j if packed == 1 else None,
        "processor_share": None
        if job.device.startswith("cuda") or processes > 1 or curve.is_streamed
        else on_processor,
        "steps": job.protocol.steps(job.load),
        "images_seen": seen,
        "training_operations": operations,
        "operations_per_s": rate,
        "share_of_peak": rate / (calibration.peak(curve.precision) * _devices(job, processes))
        if calibration
        else None,
        "calibration": calibration.to_json() if calibration else None,
    }


def _devices(job: Job, processes: int) -> float:
    """Return the devices that trained a cell; a processor's threads are one, shared out."""
    if job.device.startswith("cuda"):
        return processes
    import torch

    threads = torch.get_num_threads()
    return processes * threads_of_each(threads, processes) / threads


def selection_cost(artefacts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the artefacts behind a compressed set took, made here or found."""
    by_kind: dict[str, float] = {}
    for cost in artefacts.values():
        by_kind[cost["kind"]] = by_kind.get(cost["kind"], 0.0) + cost["seconds"]
    return {
        "selection_s": sum(by_kind.values()),
        "selection_by_kind_s": by_kind,
        "artefacts": dict(artefacts),
    }


def hours(
    job: Job,
    curve: Curve,
    artefacts: Mapping[str, Mapping[str, Any]],
    processes: int = 1,
    packed: int = 1,
) -> dict[str, float | None]:
    """Return the hours of GPU and of CPU behind a cell, selection included.

    None where no stage ran on such a device. An hour of CPU is one of a process, on as many cores
    as the record tells threads. Training counts as often as there were GPUs for it; ``packed``
    cells share the hours of theirs, while each has threads of its own. Artefacts do not tell how
    many cells were packed when they were made: their hours are whole.
    """
    shared = packed if job.device.startswith("cuda") else 1
    trained = (curve.training_s + curve.testing_s) * _devices(job, processes) / shared
    stages = [(job.device, trained)]
    stages += [(cost["device"], cost["seconds"]) for cost in artefacts.values()]
    on_gpu = [seconds for device, seconds in stages if device.startswith("cuda")]
    on_cpu = [seconds for device, seconds in stages if not device.startswith("cuda")]
    return {
        "gpu_hours": sum(on_gpu) / 3600 if on_gpu else None,
        "cpu_hours": sum(on_cpu) / 3600 if on_cpu else None,
    }


def process_cost(device: str, curve: Curve) -> dict[str, Any]:
    """Return the most memory that the process ever held, and of its GPU since this cell began.

    Where several processes trained the cell, it is the most that one of them held.
    """
    of_device = devices.peak_memory_bytes(device)
    return {
        "process_peak_memory_bytes": max(peak_memory_bytes(), curve.process_peak_bytes),
        "device_peak_memory_bytes": None
        if of_device is None
        else max(of_device, curve.device_peak_bytes),
    }


def failure(phase: str, cause: str, message: str, device: str, told: str = "") -> dict[str, Any]:
    """Return what a failure's file says; ``told`` is a traceback, where that is of use."""
    from bench.provenance import provenance

    return {
        "phase": phase,
        "type": cause,
        "message": message,
        "traceback": told,
        "peak_memory_bytes": peak_memory_bytes(),
        "provenance": provenance(device),
    }


def cause_of(error: Exception, device: str, fits: str = "") -> tuple[str, str]:
    """Return the name of a failure's cause and what to tell of it.

    ``fits`` is told of what does fit, where memory was short.
    """
    from bench.fitting import is_out_of_memory

    message = str(error).strip() or type(error).__name__
    if isinstance(error, ProcessError):
        return error.cause, f"{fits}. {message}" if fits else message
    if not is_out_of_memory(error):
        return type(error).__name__, message
    total = told_bytes(_total_memory_bytes(device))
    advice = fits or "Give the job more memory, or take a smaller batch or model"
    told = f"out of memory on {device} ({total} in all). {advice}"
    return OUT_OF_MEMORY, f"{told}. {message.splitlines()[0]}"


def fitting_advice(job: Job) -> str:
    """Return which batch of a job fits into memory, found by trying."""
    from bench.fitting import fitting_batch

    asked, size = job.protocol.batch(job.load), fitting_batch(job)
    if not size:
        return f"Not even a batch of one image fits: take a smaller model than {job.model.spec}"
    is_low = asked == job.protocol.low_share_batch_size
    smaller = (
        replace(job.protocol, low_share_batch_size=size)
        if is_low
        else replace(job.protocol, batch_size=size)
    )
    return f"A batch of {size} instead of {asked} fits: {smaller.spec}"


def _total_memory_bytes(device: str) -> int:
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    return physical_memory()
