"""Draws and counts as the released codes make them: DQ's uniform.py and ADQ's adaptive.py.

DQ is magic-research/Dataset_Quantization at 24a2a77, ADQ is SLGSP/ADQ at 474cc71. Both round with
Python's ``round`` (halves to even) and draw with numpy's legacy generator, which is set to the
run's seed anew for every bin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bench.budgets import ClassBudget, largest_remainder
from bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import IntArray
    from bench.budgets import Budget
    from methods.parts.draws import Pool

ADQ_SEGMENTS = (500, 450, 405, 364, 328, 295, 266, 239, 215, 1938)
"""Images of the ten segments of a bin of 5,000 (ADQ's ``adaptive.py:18``)."""
ADQ_IMPORTANCES = (1.0, 0.985, 1.031, 1.182, 1.094, 1.176, 1.083, 1.089, 1.011, 1.0)
"""The ten importances that ADQ released (``adaptive.py:19``)."""
_SEED_LIMIT = 2**32


def fraction_of(budget: Budget) -> float:
    """Return the ``--fraction`` that a budget stands for; raise a UsageError if it has none."""
    if isinstance(budget, ClassBudget):
        raise UsageError(
            "the released codes keep one fraction of every class, and the classes are to get "
            "shares of their own. Give rounding=exact"
        )
    return float(budget.percent / 100)


def each_rounded(counts: IntArray, fraction: float) -> IntArray:
    """Return ``round(fraction * n)`` of each count, halves to even (DQ's ``uniform.py:12-22``)."""
    wanted = [round(fraction * n) for n in counts.ravel().tolist()]
    return np.array(wanted, dtype=np.int64).reshape(counts.shape)


def released_draw(plan: Sequence[Sequence[Pool]], seed: int) -> IntArray:
    """Return the positions that ``np.random.choice`` picks, bin by bin and pool by pool.

    Parameters
    ----------
    plan : sequence of sequences of (int64 [n], int)
        For every bin its pools, in order, with the number of images to draw of each.
    seed : int
        ``--seed`` of the released scripts, 0 ... 2**32 - 1; it is set anew for every bin, so that
        bins of equal pools give the same places in each (``uniform.py:14``, ``adaptive.py:13``).

    Raises
    ------
    UsageError
        For a seed that numpy's legacy generator does not take.
    """
    if not 0 <= seed < _SEED_LIMIT:
        raise UsageError(f"the released draws take seeds from 0 to {_SEED_LIMIT - 1}, not {seed}")
    kept = []
    for pools in plan:
        state = np.random.RandomState(seed)
        kept += [state.choice(members, count, replace=False) for members, count in pools]
    return np.concatenate(kept)


@dataclass(frozen=True)
class Segments:
    """The consecutive position segments of one bin, and what is drawn of each.

    Parameters
    ----------
    sizes, counts : int64 [10]
        Images of the segments, and how many of them are kept.
    is_capped : bool
        Whether a count was cut to its segment's size, where the released code raises an error.
    """

    sizes: IntArray
    counts: IntArray
    is_capped: bool = False

    @property
    def is_scaled(self) -> bool:
        """Whether the bin does not hold 5,000 images, where the released code raises an error."""
        return tuple(self.sizes.tolist()) != ADQ_SEGMENTS

    def of(self, members: IntArray) -> list[Pool]:
        """Return a bin's segments as pools to draw from."""
        parts = np.split(members, np.cumsum(self.sizes)[:-1])
        return list(zip(parts, self.counts.tolist(), strict=True))


def adq_segments(size: int) -> IntArray:
    """Return the sizes of a bin's ten segments, int64 [10].

    Those of ``adaptive.py:18`` for a bin of 5,000; otherwise, by our choice, the same shares of
    the bin by largest remainder.
    """
    published = np.array(ADQ_SEGMENTS, dtype=np.int64)
    return largest_remainder(published * (size / published.sum()), size)


def adq_segment_counts(size: int, fraction: float, importances: Sequence[float]) -> Segments:
    """Return what ADQ's ``adaptive.py:26-34`` draws of a bin's segments.

    ``round(share * int(fraction * size))`` with shares proportional to size times importance.
    The counts' sum differs from ``fraction * size`` by the roundings.
    """
    sizes = adq_segments(size)
    weights = [n * importance for n, importance in zip(sizes.tolist(), importances, strict=True)]
    total, all_weights = int(fraction * size), sum(weights) or 1
    wanted = np.array([round(weight / all_weights * total) for weight in weights], dtype=np.int64)
    counts = np.minimum(wanted, sizes)
    return Segments(sizes, counts, bool((wanted > sizes).any()))


def dataset_numbers(keys: Sequence[str]) -> IntArray:
    """Return each image's number in its data set, int64 [N]: a permutation of 0 ... N - 1.

    The released codes number images by their places in it. Where all keys end in different
    numbers, as ``airplane/00029.jpg`` of a folder that was made of CIFAR-10, these tell the places;
    otherwise the keys themselves do, in the order of texts.
    """
    found = [re.search(r"(\d+)$", PurePosixPath(key).stem) for key in keys]
    given = [int(match.group()) for match in found if match]
    order = np.argsort(given if len(set(given)) == len(keys) else np.array(keys), kind="stable")
    numbers = np.empty(len(keys), dtype=np.int64)
    numbers[order] = np.arange(len(keys))
    return numbers


def in_dataset_order(members: IntArray, keys: Sequence[str]) -> IntArray:
    """Return positions sorted by the images' numbers in the data set.

    So ``quantize_sample.py:109-114`` saves what remains for the last bin; other bins it saves class
    by class.
    """
    return members[np.argsort(dataset_numbers(keys)[members])]
