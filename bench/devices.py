"""What a device is asked besides computing: whether it answers, and for its memory."""

from __future__ import annotations

import contextlib
import gc


def answers(device: str) -> bool:
    """Return whether a device still takes work from this process.

    After an illegal access, a failed assertion or a launch that failed, a GPU refuses every later
    call of the process. Which error was one of these it tells itself, by failing once more.
    """
    if not device.startswith("cuda"):
        return True
    import torch

    try:
        torch.cuda.synchronize(torch.device(device))
    except RuntimeError:
        return False
    return True


def forget_peak_memory(device: str) -> None:
    """Have :func:`peak_memory_bytes` tell of what is held of a GPU from now on."""
    if not device.startswith("cuda"):
        return
    import torch

    torch.cuda.init()  # type: ignore[no-untyped-call]  # statistics begin with it
    give_back_cached()
    torch.cuda.reset_peak_memory_stats(torch.device(device))


def peak_memory_bytes(device: str) -> int | None:
    """Return the most memory that torch held of a GPU at once; None for a processor.

    What captured graphs work in is held, and no tensor's while they are replayed.
    """
    if not device.startswith("cuda"):
        return None
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0
    return int(torch.cuda.max_memory_reserved(torch.device(device)))


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    give_back_cached()


def give_back_cached() -> None:
    """Give back what torch keeps of GPUs for tensors to come.

    Before version 2.12 torch cannot any more once a capture has failed
    (https://github.com/pytorch/pytorch/pull/180395); then it keeps it.
    """
    import torch

    if torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


def free_bytes(device: str) -> int:
    """Return the memory of a GPU that new tensors may take: the free one, and what torch keeps."""
    import torch

    where = torch.device(device)
    kept = torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)
    return int(torch.cuda.mem_get_info(where)[0]) + kept
