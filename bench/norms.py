"""Batch normalisation over the images of several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm


def shared_norms(network: Any) -> Any:
    """Return a network whose batch normalisations see all processes' images together.

    Notes
    -----
    On a GPU these are torch's SyncBatchNorm, through timm, whose layers also hold activations.
    torch has none for the processor: :class:`HostBatchNorm` computes the same there.
    """
    if next(network.parameters()).is_cuda:
        from timm import layers

        convert: Any = layers.convert_sync_batchnorm  # type: ignore[attr-defined]
        return convert(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, HostBatchNorm.like(child))
    return network


class HostBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the images of all processes, of any device."""

    act: nn.Module
    drop: nn.Module

    @classmethod
    def like(cls, norm: Any) -> HostBatchNorm:
        """Return one with the parameters and buffers of another, and with what timm puts after."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        made.drop = getattr(norm, "drop", nn.Identity())
        made.act = getattr(norm, "act", nn.Identity())
        return made.train(norm.training)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised maps."""
        if not self.training:
            normalised = super().forward(images)
            return self._activated(normalised)
        count = _summed(images.new_tensor(images.numel() // max(1, images.shape[1])).float())
        mean = _summed(images.float().sum((0, 2, 3))) / count
        centred = images.float() - mean[:, None, None]
        variance = _summed(centred.square().sum((0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach() * (count / (count - 1).clamp(min=1)))
        factor = (variance + self.eps).rsqrt() * self.weight
        normalised = centred * factor[:, None, None] + self.bias[:, None, None]
        return self._activated(normalised.to(images.dtype))

    def _activated(self, normalised: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(normalised))
        return activated

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class _Sum(torch.autograd.Function):
    """The sum over the processes; what one of them owes to a sum, all of them owe."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        summed = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: FunctionCtx, owed: Tensor) -> Tensor:
        summed = owed.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(summed)
        return summed


def _summed(values: Tensor) -> Tensor:
    summed: Tensor = _Sum.apply(values)
    return summed
