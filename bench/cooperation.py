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
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from bench.errors import TrainingError
from bench.norms import shared_norms
from bench.shards import ShardBuffers

if TYPE_CHECKING:
    from bench.models.networks import Network
    from bench.protocols import Protocol
    from bench.team import Piece, Team


class Cooperation:
    """What a network needs to be trained together.

    Parameters
    ----------
    network : Network
        With its initial weights, on its device; its normalisations may be exchanged.
    team : Team
        The processes; they have joined their process group.
    protocol : Protocol
        Whether parts of a batch are normalised each on their own.
    """

    def __init__(self, network: Network, team: Team, protocol: Protocol) -> None:
        shards = protocol.batch_shards
        if shards % team.size and shards != 1:
            raise TrainingError(
                f"{team.size} processes cannot share the {shards} shards of {protocol.name}. Take "
                f"a number that divides {shards}, or another one: "
                f"'{protocol.name}[batch_shards=...]'"
            )
        if team.size > 1 and shards == 1 and protocol.split_norm:
            raise TrainingError(
                f"{team.size} processes cannot train with a batch normalisation for every look "
                f"over a whole batch ({protocol.spec}). Take --gpus-per-cell 1, or batch_shards="
                f"{team.size}"
            )
        self.team = team
        self.network = network
        self._shards: ShardBuffers | None = None
        self._count = shards
        if shards > 1:
            numbers = [piece.number for piece in team.pieces(shards, shards)]
            self._shards = ShardBuffers(network, numbers)
        elif team.size > 1:
            self.network = shared_norms(network)
        self._normalises = any(isinstance(one, _BatchNorm) for one in self.network.modules())
        self._takes_nothing = False
        self._wrapped: nn.Module = self.network
        if team.size > 1:
            # Without the search for unused parameters the buckets are laid out anew after the
            # first step, and a run that was gone on from would add its gradients in other orders.
            self._wrapped = DistributedDataParallel(
                self.network, broadcast_buffers=False, find_unused_parameters=True
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Return the network's logits.

        A process without an image takes part all the same: the others wait for its gradients, and
        for its sums where they normalise together. Networks that do not normalise over a batch
        are given an image that counts for nothing; some, as Swin, fail without any.

        Raises
        ------
        TrainingError
            When there is no image, and the network normalises over a batch and fails without any:
            an image that stands in would count.
        """
        if len(images):
            logits: Tensor = self._wrapped(images)
            return logits
        if not self._normalises:
            stand_in = images.new_zeros(1, *images.shape[1:])
            none: Tensor = self._wrapped(stand_in)[:0]
            return none
        if not self._takes_nothing:
            self._ask(images)
            self._takes_nothing = True
        empty: Tensor = self._wrapped(images)
        return empty

    @torch.no_grad()
    def _ask(self, nothing: Tensor) -> None:
        """Raise if the network fails without an image; the other processes do not notice."""
        was_training = self.network.training
        try:
            self.network.eval()(nothing)
        except Exception as error:
            raise TrainingError(
                "a batch has fewer images than pieces, and a network that normalises over a batch "
                f"fails without an image ({error}). Take fewer GPUs a cell, last_batch=even, "
                "last_batch=drop or another batch_size"
            ) from error
        finally:
            self.network.train(was_training)

    @contextlib.contextmanager
    def exchanging(self, piece: Piece, is_last: bool) -> Iterator[None]:
        """Exchange the gradients of this piece and those before if it is a step's last one.

        A shard sees the running statistics of its own.
        """
        with contextlib.ExitStack() as stack:
            if not is_last and isinstance(self._wrapped, DistributedDataParallel):
                stack.enter_context(self._wrapped.no_sync())
            if self._shards is not None:
                stack.enter_context(self._shards.of(piece.number))
            yield

    def begin_epoch(self) -> None:
        """Begin with the same statistics in all shards."""
        if self._shards is not None:
            self._shards.begin()

    def end_epoch(self) -> None:
        """Give the network the statistics of all shards."""
        if self._shards is not None:
            self._shards.average(self.total, self._count)

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
    """Belong to the process group that torchrun's environment tells of, within the block.

    After an error the group is left as it is: on GPUs its end waits for all processes, and the
    others wait in a step for this one. The process is to end at once.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield
    distributed.destroy_process_group()
