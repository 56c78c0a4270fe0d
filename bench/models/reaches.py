"""Which places of a map a convolution's kernel reaches, without those of the border.

Along one side of a map, the place ``p`` that a convolution of stride ``s`` makes reads the place
``q = s p + k - K // 2`` through the place ``k`` of a kernel of K places, where ``q`` is in the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


def places(side: int, stride: int) -> int:
    """Return how many places a convolution makes along a side, padded by half its kernel."""
    return (side - 1) // stride + 1


@dataclass(frozen=True)
class Reach:
    """Places of the one map that read the other one through the same part of the kernel.

    Parameters
    ----------
    made : slice
        The places that are made.
    kernel : range
        The part of the kernel, in the order of what is read through it.
    read : slice
        All that they read. The first place made reads the first of it, side by side.
    step : int
        How much further the next place made begins to read.
    """

    made: slice
    kernel: range
    read: slice
    step: int


@cache
def forward(side: int, kernel: int, stride: int) -> tuple[Reach, ...]:
    """Return the reaches by which a convolution makes its map from a side of its input."""
    parts = {}
    for made in range(places(side, stride)):
        first = made * stride - kernel // 2  # read through place 0
        parts[made] = range(max(0, -first), min(kernel, side - first)), max(0, first)
    return _reaches(parts)


@cache
def backward(side: int, kernel: int, stride: int) -> tuple[Reach, ...]:
    """Return the reaches by which the gradient of a side of the input is made from the map's.

    Its places are read through the kernel's in descending order. Places that no place of the map
    had read are in no reach.
    """
    parts = {}
    for made in range(side):
        shifted = made + kernel // 2  # through place k it reads (shifted - k) / stride
        last = places(side, stride) - 1
        lowest = max(shifted - last * stride, shifted % stride)
        part = range(lowest, min(kernel, shifted + 1), stride)[::-1]
        parts[made] = part, (shifted - part[0]) // stride if part else 0
    return _reaches(parts)


@cache
def by_kernel(side: int, kernel: int, stride: int) -> tuple[tuple[slice, slice], ...]:
    """Return for each place of the kernel the places made, and what they read through it."""
    found = []
    for place in range(kernel):
        shift = place - kernel // 2
        begin = max(0, -(shift // stride))
        end = max(begin, min(places(side, stride), (side - 1 - shift) // stride + 1))
        read = slice(begin * stride + shift, max(0, end * stride + shift), stride)
        found.append((slice(begin, end), read if end > begin else slice(0)))
    return tuple(found)


def _reaches(parts: Mapping[int, tuple[range, int]]) -> tuple[Reach, ...]:
    """Join the places that read through the same part of the kernel; skip those without any.

    `parts` tells for each place made that part, and the first place that it reads.
    """
    joined: dict[range, list[int]] = {}
    for made, (part, _) in parts.items():
        if part:
            joined.setdefault(part, []).append(made)
    return tuple(
        Reach(
            made=slice(made[0], made[-1] + 1, made[1] - made[0] if len(made) > 1 else 1),
            kernel=part,
            read=slice(parts[made[0]][1], parts[made[-1]][1] + len(part)),
            step=parts[made[1]][1] - parts[made[0]][1] if len(made) > 1 else 1,
        )
        for part, made in joined.items()
    )
