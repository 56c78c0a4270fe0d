"""Batch normalisation in shards of a batch, as on as many devices, whatever number there is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


class ShardBuffers:
    """The running statistics of every shard's batch normalisations, as each device has its own.

    After an epoch they are averaged over all shards, as timm's ``--dist-bn reduce`` does.

    Parameters
    ----------
    network : Module
        Whose buffers are exchanged as shards go through it.
    numbers : sequence of int
        The shards of this process.
    """

    def __init__(self, network: nn.Module, numbers: Sequence[int]) -> None:
        self._live = [b for b in network.buffers() if b.is_floating_point()]
        self._kept = {number: [b.clone() for b in self._live] for number in numbers}

    @contextlib.contextmanager
    def of(self, number: int) -> Iterator[None]:
        """Let the network have a shard's statistics within the block."""
        _copy(self._kept[number], self._live)
        yield
        _copy(self._live, self._kept[number])

    def begin(self) -> None:
        """Let all shards begin with the statistics that the network has now."""
        for kept in self._kept.values():
            _copy(self._live, kept)

    def average(self, total: Callable[[Tensor], Tensor], shards: int) -> None:
        """Give the network the mean over the shards of all processes, whose sum is ``total``."""
        if not self._live:
            return
        own = torch.stack([_flat(kept) for kept in self._kept.values()]).sum(0)
        mean = total(own) / shards
        parts = torch.split(mean, [b.numel() for b in self._live])
        _copy([p.view_as(b) for p, b in zip(parts, self._live, strict=True)], self._live)


def _flat(buffers: Sequence[Tensor]) -> Tensor:
    return torch.cat([one.flatten() for one in buffers])


@torch.no_grad()
def _copy(sources: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
