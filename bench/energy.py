"""Energy: what a GPU has taken, where NVIDIA's management library counts it."""

from __future__ import annotations

from functools import cache
from typing import Any


class EnergyMeter:
    """Joules that a whole GPU takes, whoever makes it work.

    Parameters
    ----------
    device : str
        A device that is no GPU, or whose driver does not count, has no joules.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._last = counted_joules(device)

    def lap(self) -> float | None:
        """Return the joules since the meter was made or last read; None where nobody counts."""
        before, self._last = self._last, counted_joules(self._device)
        return None if before is None or self._last is None else self._last - before


def counted_joules(device: str) -> float | None:
    """Return the joules that a GPU has taken since its driver was loaded."""
    library, handle = _counter(device)
    if library is None:
        return None
    try:
        return float(library.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except library.NVMLError:  # GPUs before Volta, and slices of a GPU
        return None


@cache
def _counter(device: str) -> tuple[Any, Any]:
    """Return the library and its handle of a GPU, or two None."""
    if not device.startswith("cuda"):
        return None, None
    try:
        import pynvml
    except ImportError:
        return None, None
    import torch

    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(torch.device(device)).uuid
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except pynvml.NVMLError:
        return None, None
