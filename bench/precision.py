"""Precision: the number format that a network's products are computed in, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.models import Model
    from bench.protocols import Protocol

Format = Literal["fp32", "bf16"]
_BF16_CAPABILITY = (8, 0)
"""The first CUDA compute capability whose tensor cores multiply bf16."""


@dataclass(frozen=True)
class Precision:
    """A number format and the reason for it; weights and updates are float32 in both."""

    name: Format
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return both as JSON values."""
        return asdict(self)


def choose(protocol: Protocol, model: Model, device: str) -> Precision:
    """Return the precision of a training run.

    What a protocol names is taken. With ``auto`` it is bf16 where the device has units for it and
    the network gains by them, fp32 elsewhere: a rule and no measurement, so that the same cell
    on the same machine always gets the same one.
    """
    if protocol.precision != "auto":
        return Precision(protocol.precision, "the protocol names it")
    if device.startswith("cuda"):
        return _on_gpu(device)
    return _on_processor(model)


def _on_gpu(device: str) -> Precision:
    import torch

    capability = torch.cuda.get_device_capability(torch.device(device))
    told = f"compute capability {capability[0]}.{capability[1]}"
    if capability >= _BF16_CAPABILITY:
        return Precision("bf16", f"{told} has bf16 tensor cores")
    return Precision("fp32", f"{told} has no bf16 tensor cores")


def _on_processor(model: Model) -> Precision:
    units = bf16_units()
    if not units:
        return Precision("fp32", "the processor has no bf16 units")
    if not model.gains_by_bf16_on_cpu:
        return Precision("fp32", f"{model.name} is slower in bf16 on a processor")
    return Precision("bf16", f"the processor has {' and '.join(units)}")


def bf16_units() -> tuple[str, ...]:
    """Return the processor's instruction sets that multiply bf16; imports torch."""
    import torch

    if not hasattr(torch.cpu, "get_capabilities"):  # torch before 2.11 does not tell
        return ()
    found = torch.cpu.get_capabilities()
    return tuple(name for name in ("amx_bf16", "avx512_bf16", "sve_bf16") if found.get(name))
