"""What a device is asked besides computing: whether it answers, and for its memory."""

from __future__ import annotations

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
    torch.cuda.reset_peak_memory_stats(torch.device(device))


def peak_memory_bytes(device: str) -> int | None:
    """Return the most memory that tensors held of a GPU at once; None for a processor."""
    if not device.startswith("cuda"):
        return None
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0
    return int(torch.cuda.max_memory_allocated(torch.device(device)))


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
