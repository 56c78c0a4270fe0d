"""The random generators that a process shares."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def seeded_globally(seed: int) -> Iterator[None]:
    """Let the shared generators of the processor begin from a seed within the block.

    Those are Python's, numpy's (its lowest 32 bits) and torch's; what they were comes back after.
    """
    import torch

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
