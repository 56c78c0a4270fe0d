"""Running one method on one training split: the one way from a method to its compressed set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.contract import CompressedSet
from bench.errors import DataError

if TYPE_CHECKING:
    from bench.arrays import Arrays, IntArray
    from bench.budgets import Budget
    from bench.contract import Artefact, Context, ImageDataset, Method


def select(method: Method, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
    """Return what a method keeps of a training split, from the store or computed and stored.

    The method sees the images in the order of their keys, and what it kept is told in the order
    of ``train``: the order of files on a disk changes no result.

    Raises
    ------
    DataError
        When two images have one key, or the method did not keep to its budget.
    """
    order = key_order(train)
    artefact = compressed_set(method, _ordered(train, order), budget, ctx)
    compressed = CompressedSet.from_arrays(artefact.arrays())
    return replace(compressed, indices=order[compressed.indices])


def compressed_set(method: Method, seen: ImageDataset, budget: Budget, ctx: Context) -> Artefact:
    """Return the artefact that holds what a method keeps of a training split as methods see it.

    Nothing is computed before it is read; its id needs no images.
    """

    def make() -> Arrays:
        compressed = method.compress(seen, budget, ctx)
        compressed.check(seen, budget, method.keeps)
        return compressed.to_arrays()

    return ctx.artefact(
        "compressed",
        make,
        inputs=method.artefacts(seen, ctx),
        params={"method": method.identity(), "budget": budget.identity()},
        seeded=method.seeded,
    )


def seen_by_methods(train: ImageDataset) -> ImageDataset:
    """Return the training split as methods see it: sorted by key."""
    return _ordered(train, key_order(train))


def _ordered(train: ImageDataset, order: IntArray) -> ImageDataset:
    is_ordered = bool((order[1:] > order[:-1]).all())
    return train if is_ordered else train.subset(order)


def key_order(train: ImageDataset) -> IntArray:
    """Return the positions of the images sorted by key, int64 [N]; raise for equal keys."""
    keys = np.asarray(train.keys)
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    if len(same):
        raise DataError(f"two images have the key '{keys[order[same[0]]]}'. Give each its own")
    return order
