"""What would fit: the largest batch that a device has memory for, found by trying."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bench.batches import Targets
from bench.devices import free_memory
from bench.feeding import chosen, resident_bytes
from bench.stepping import Trainer

if TYPE_CHECKING:
    from bench.jobs import Job


_NO_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "_ALLOCATION_FAILED",  # cuDNN 9 tells so of the device's memory and of the host's
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""How torch tells of a want of memory by errors that have no type of their own."""
_NO_ROOM_FOR_CODE = "could not create a primitive"
"""All that oneDNN says where it finds no memory for the code of a layer.

What it cannot compute at all it tells earlier, of a primitive's descriptor.
"""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether more memory would have mended an error."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    told = str(error).strip()
    return told == _NO_ROOM_FOR_CODE or any(words in told for words in _NO_MEMORY)


def fitting_batch(job: Job) -> int:
    """Return the largest batch, halved again and again, of which a step fits; 0 where none does.

    Tries steps on black images, beside as much memory as the job's images take: those of one
    process of the job's team.
    """
    size = min(job.protocol.batch(job.load), len(job.train)) // 2
    while size and not _fits(job, size):
        size //= 2
    return size


def _fits(job: Job, size: int) -> bool:
    try:
        _step(job, size)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        free_memory()
    return True


def _step(job: Job, size: int) -> None:
    from bench.training import fresh_network

    device = torch.device(job.device)
    images = 0 if chosen(job).is_streamed else resident_bytes(job)
    held = torch.empty(images, dtype=torch.uint8, device=device)
    network = fresh_network(job.model, job.train, job.seed)
    trainer = Trainer(network, job.protocol, job.precision, device, captures=False)
    height, width, channels = job.train.shape
    at_once = max(2, -(-size // max(job.protocol.batch_shards, job.team.size)))
    looks = at_once * job.protocol.augmentation_splits
    black = torch.zeros(looks, height, width, channels, device=device).permute(0, 3, 1, 2)
    targets = Targets(torch.zeros(at_once, dtype=torch.int64, device=device), None)
    trainer.begin_epoch()
    trainer.try_step(black, targets)
    del held
