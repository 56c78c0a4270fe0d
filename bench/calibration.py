"""Calibration: what this machine reaches at its best, to compare training with."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bench.devices import give_back_cached

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_SIDE = {"cpu": 1024, "cuda": 8192}
_MAPS = (16, 128, 18, 18)
"""Batch, channels and sides of what a convolution reads that a processor is measured with too."""
_COPIED_BYTES = {"cpu": 2**26, "cuda": 2**30}
_ROUNDS = 8


@dataclass(frozen=True)
class Calibration:
    """The best of a few short rounds on one device.

    Parameters
    ----------
    fp32, bf16 : float
        Operations a second of a large matrix product or, on a processor, of a 3 x 3 convolution
        where that is faster; a multiply-add counted as two.
    bytes_per_s : float
        Bytes read and written a second by a copy that no cache holds.
    """

    fp32: float
    bf16: float
    bytes_per_s: float

    def peak(self, precision: str) -> float:
        """Return the operations a second of a precision."""
        return self.bf16 if precision == "bf16" else self.fp32

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


@cache
def calibrate(device: str) -> Calibration:
    """Measure a device, once in a process; takes about half a second.

    The best of several rounds counts, since other processes only make a round slower. bf16 on a
    processor without such units is slower than fp32, and said so. A processor's products and
    convolutions are different libraries' (MKL, oneDNN), which need not use the same units: on an
    AMD EPYC fp32 products reached 170 GFLOP/s where convolutions reached 520. What it takes of a
    GPU's memory is given back; whoever tells a peak of memory reads it before.
    """
    import torch

    where = torch.device(device)
    try:
        return _measured(where)
    finally:
        if where.type == "cuda":
            give_back_cached()


def calibration_of(device: str) -> Calibration | None:
    """Return what a device reaches; None where it has no memory left to be measured in."""
    from bench.fitting import is_out_of_memory

    try:
        return calibrate(device)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _measured(device: torch.device) -> Calibration:
    import torch

    kind = device.type
    rates = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        rates[precision] = _product_rate(device, dtype)
        if kind == "cpu":
            rates[precision] = max(rates[precision], _convolution_rate(device, dtype))
    source = torch.zeros(_COPIED_BYTES[kind], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * _COPIED_BYTES[kind] / _best(lambda: target.copy_(source), device)
    return Calibration(rates["fp32"], rates["bf16"], copied)


def _product_rate(device: torch.device, dtype: torch.dtype) -> float:
    import torch

    side = _SIDE[device.type]
    left, right = (torch.full((side, side), 0.5, dtype=dtype, device=device) for _ in range(2))
    return 2 * side**3 / _best(lambda: left @ right, device)


def _convolution_rate(device: torch.device, dtype: torch.dtype) -> float:
    import torch

    count, channels, height, width = _MAPS
    # Without a border, whose products oneDNN leaves out: with one it seemed 8 % faster.
    places = (height - 2) * (width - 2)
    maps = torch.full(_MAPS, 0.5, dtype=dtype, device=device)
    kernel = torch.full((channels, channels, 3, 3), 0.5, dtype=dtype, device=device)
    maps, kernel = (one.to(memory_format=torch.channels_last) for one in (maps, kernel))
    operations = 2 * count * places * channels**2 * 3 * 3
    return operations / _best(lambda: torch.conv2d(maps, kernel), device)


def _best(work: Callable[[], Any], device: torch.device) -> float:
    import torch

    shortest = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        shortest = min(shortest, time.perf_counter() - start)
    return shortest
