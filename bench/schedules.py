"""The learning rate of every step, as a protocol asks for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.protocols import Protocol


def learning_rate(protocol: Protocol, epochs_done: int, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    epochs_done, step : int
        Counted from 0; ``step`` counts within the epoch.
    steps : int
        Steps in an epoch.
    """
    if protocol.schedule == "drop":
        return protocol.learning_rate * (0.1 if epochs_done >= protocol.drop_epoch else 1.0)
    warmup = min(protocol.warmup_epochs, protocol.epochs / 2)
    if protocol.schedule == "epoch":
        if epochs_done < warmup:
            low = protocol.warmup_learning_rate
            return low + (protocol.learning_rate - low) * epochs_done / warmup
        return _cosine(protocol, epochs_done / protocol.epochs)
    done = epochs_done + (step + 1) / steps
    if done <= warmup:
        return protocol.learning_rate * done / warmup
    return _cosine(protocol, (done - warmup) / (protocol.epochs - warmup))


def _cosine(protocol: Protocol, share: float) -> float:
    low, high = protocol.final_learning_rate, protocol.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2
