"""Random draws: paired across methods, or with the generator of the released codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from methods.parts.released import released_draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import FloatArray, IntArray
    from bench.contract import Context, ImageDataset

Pool: TypeAlias = "tuple[IntArray, int]"
"""Positions to draw from, and how many of them to draw."""


def drawn(
    plan: Sequence[Sequence[Pool]],
    draw: Literal["paired", "released"],
    train: ImageDataset,
    ctx: Context,
) -> IntArray:
    """Return what is drawn of the pools of each bin, int64 [K], in their order.

    Parameters
    ----------
    plan : sequence of sequences of (int64 [n], int)
        For every bin its pools, with the number of images to draw of each.
    draw : {"paired", "released"}
        The lowest :func:`priorities` of each pool, or
        :func:`methods.parts.released.released_draw` with the selection seed.
    """
    if draw == "released":
        return released_draw(plan, ctx.selection_seed)
    priority = priorities(train, ctx)
    kept = [lowest(members, priority, count) for pools in plan for members, count in pools]
    return np.concatenate(kept)


def pools_by_label(members: IntArray, labels: IntArray, counts: IntArray) -> list[Pool]:
    """Return a bin's pools: its members of each label, with the counts of the labels."""
    return [
        (members[labels[members] == label], count) for label, count in enumerate(counts.tolist())
    ]


def priorities(train: ImageDataset, ctx: Context) -> FloatArray:
    """Return one uniform number for each image, float64 [N] in [0, 1).

    Notes
    -----
    Every method that draws takes the lowest priorities of its pool. So draws of different
    methods and budgets are nested as far as their pools allow: their differences come from the
    methods and not from the dice (common random numbers). The numbers follow the images' keys,
    so that the order of the files on a disk changes nothing.
    """
    return uniform_by_key(train, ctx.generator("draw"))


def uniform_by_key(train: ImageDataset, generator: np.random.Generator) -> FloatArray:
    """Return one uniform number for each image, float64 [N], dealt in the order of the keys."""
    numbers = np.empty(len(train))
    numbers[np.argsort(np.asarray(train.keys), kind="stable")] = generator.random(len(train))
    return numbers


def lowest_by_class(labels: IntArray, priority: FloatArray, counts: IntArray) -> IntArray:
    """Return the positions of each class with the lowest priorities, class by class.

    Parameters
    ----------
    labels : int64 [N]
        Classes of the images; a negative one is none of them.
    priority : float64 [N]
        Of the images.
    counts : int64 [C]
        How many to take of each class; all of them where there are fewer.
    """
    ranked = np.lexsort((priority, labels))
    start = np.searchsorted(labels[ranked], np.arange(len(counts)))
    stop = np.searchsorted(labels[ranked], np.arange(len(counts)), side="right")
    pools = zip(start, np.minimum(start + counts, stop), strict=True)
    return np.concatenate([ranked[first:last] for first, last in pools])


def lowest(pool: IntArray, priority: FloatArray, count: int) -> IntArray:
    """Return the ``count`` positions of a pool with the lowest priorities, in that order."""
    return pool[np.argsort(priority[pool], kind="stable")[:count]]
