"""How several processes, or several pieces of one batch, make one training step.

The step is the same whatever the number of processes: the loss is the mean over the whole batch,
batch normalisation sees the same images together, and weights stay equal everywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bench.norms import shared_norms

if TYPE_CHECKING:
    from bench.models.networks import Network
    from bench.team import Team


class Cooperation:
    """What a network needs to be trained together.

    Parameters
    ----------
    network : Network
        With its initial weights, on its device; its normalisations may be exchanged.
    team : Team
        The processes; they have joined their process group.
    """

    def __init__(self, network: Network, team: Team) -> None:
        self.team = team
        self.network = network if team.size == 1 else shared_norms(network)
        self._wrapped: nn.Module = self.network
        if team.size > 1:
            # Without the search for unused parameters the buckets are laid out anew after the
            # first step, and a run that was gone on from would add its gradients in other orders.
            self._wrapped = DistributedDataParallel(
                self.network, broadcast_buffers=False, find_unused_parameters=True
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Return the network's logits."""
        logits: Tensor = self._wrapped(images)
        return logits

    @contextlib.contextmanager
    def exchanging(self, is_last: bool) -> Iterator[None]:
        """Exchange the gradients of this piece and those before if it is a step's last one."""
        if is_last or not isinstance(self._wrapped, DistributedDataParallel):
            yield
            return
        with self._wrapped.no_sync():
            yield

    def weighted(self, loss: Tensor, share: float) -> Tensor:
        """Return a piece's mean loss as its part of the step's; the processes' are averaged."""
        weight = share * self.team.size
        return loss if weight == 1 else loss * weight

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of the processes' values."""
        if self.team.size == 1:
            return values
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed


@contextlib.contextmanager
def joined(team: Team, device: torch.device) -> Iterator[None]:
    """Belong to the process group that torchrun's environment tells of, within the block."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
