"""Whether images live on the device or stream to it: by a rule, or as asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from bench import devices, resources
from bench.metering import told_bytes

if TYPE_CHECKING:
    from bench.jobs import Job

_SHARE = 0.5
"""Share of the free memory that images may take; networks and batches need the rest."""
_MOST_WORKERS = 8
"""Processes that decode for one training process, where nobody says how many."""


class Stream(Enum):
    """When images stream."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class Feed:
    """How images are to reach the networks; no part of any identity, since nothing depends on it.

    Parameters
    ----------
    stream : Stream
        By default images stream where they do not fit.
    workers : int or None
        Processes that decode and augment streamed images, for each training process; 0 for
        none; None for one a core, up to eight.
    """

    stream: Stream = Stream.AUTO
    workers: int | None = None

    def worker_count(self, processes: int = 1) -> int:
        """Return the processes that decode, where so many training processes share the cores."""
        if self.workers is not None:
            return self.workers
        return max(1, min(_MOST_WORKERS, resources.cores() // processes))

    def shared_by(self, processes: int) -> Feed:
        """Return what each of so many processes on this machine is told.

        One alone keeps to the rule, by which those that it starts for a cell share the cores.
        """
        return self if processes == 1 else replace(self, workers=self.worker_count(processes))


BY_RULE = Feed()


@dataclass(frozen=True)
class Feeding:
    """What was chosen for one training run, and why."""

    is_streamed: bool
    reason: str


def chosen(job: Job) -> Feeding:
    """Return whether a run's images stream."""
    asked = job.feed.stream
    if job.protocol.draws_image_by_image or job.protocol.test_crop != 1:
        return Feeding(True, "the protocol cuts images one by one")
    if asked is not Stream.AUTO:
        return Feeding(asked is Stream.ALWAYS, "asked for")
    needed, free = resident_bytes(job), _free_bytes(job.device)
    told = f"{told_bytes(needed)} of images, {told_bytes(free)} of memory free"
    return Feeding(needed > _SHARE * free, told)


def fits_in_memory(count: int) -> bool:
    """Return whether so many bytes of images may be held in memory."""
    return count <= _SHARE * resources.available_memory()


def resident_bytes(job: Job) -> int:
    """Return the memory that a run's images take where they live on the device."""
    height, width, channels = job.train.shape
    padding, size = 2 * job.protocol.padding, job.train.images.dtype.itemsize
    train = len(job.train) * (height + padding) * (width + padding) * channels * size
    if job.protocol.augmentation == "crop+flip":
        train *= 2  # mirrored images lie behind the others
    return train + (0 if job.test is None else len(job.test) * height * width * channels)


def _free_bytes(device: str) -> int:
    free = resources.available_memory()
    return min(free, devices.free_bytes(device)) if device.startswith("cuda") else free
