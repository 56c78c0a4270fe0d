"""The loss of a protocol: cross-entropy, or with the divergence between looks at an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bench.batches import Targets, mean_loss

if TYPE_CHECKING:
    from bench.protocols import Protocol

Loss = Callable[[Tensor, Targets], Tensor]
"""From the logits of all looks at the images of a batch and their targets to a scalar."""


def loss_of(protocol: Protocol) -> Loss:
    """Return a protocol's loss.

    With several looks at an image it is timm's ``JsdCrossEntropy``: the cross-entropy of the
    first looks, and ``jsd_weight`` times the Jensen-Shannon divergence between the
    predictions for all looks (AugMix, arXiv 1912.02781). Soft labels and weights take part
    in the cross-entropy alone.
    """
    smoothing = protocol.label_smoothing
    splits = protocol.augmentation_splits
    if splits == 1:
        return lambda logits, targets: mean_loss(logits, targets, smoothing)
    from timm import loss as losses

    make: Any = losses.JsdCrossEntropy  # type: ignore[attr-defined]
    together, first = make(splits, protocol.jsd_weight, smoothing=0), _FirstLooks(smoothing)
    together.cross_entropy_loss = first

    def divided(logits: Tensor, targets: Targets) -> Tensor:
        if not len(logits):
            return logits.sum()
        first.targets = targets
        loss: Tensor = together(logits, targets.labels)
        return loss

    return divided


class _FirstLooks(nn.Module):
    """The cross-entropy that timm asks for, with what it does not hand on: soft labels, weights."""

    targets: Targets

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self._smoothing = smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return mean_loss(logits, self.targets, self._smoothing)
