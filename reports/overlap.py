"""How much two selections have in common, and how much two random ones would."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reports.tables import Column, Table, as_json, number

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PAIRED_DRAWS = (
    "Paired draws (draw=paired, the default) share their dice on purpose and have more in common "
    "than that."
)
"""Said where selections that may be of one seed are compared with independent draws."""


class Expected(NamedTuple):
    """The number of common images that chance gives: its mean and standard deviation."""

    mean: float
    deviation: float


def common(ours: ArrayLike, theirs: ArrayLike) -> int:
    """Return the number of indices in both sets."""
    return len(np.intersect1d(ours, theirs))


def jaccard(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Return the share of the union that is common, in 0 ... 1; 1 for two empty sets."""
    union = len(np.union1d(ours, theirs))
    return common(ours, theirs) / union if union else 1.0


def containment(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Return the share of ours that is in theirs, in 0 ... 1; 1 for an empty set."""
    size = len(np.unique(np.asarray(ours)))
    return common(ours, theirs) / size if size else 1.0


def expected_overlap(groups: ArrayLike, ours: ArrayLike, theirs: ArrayLike) -> Expected:
    r"""Return what two independent random draws with the same counts in each group share.

    In a group of N images, draws of a and b have a hypergeometric number in common, of mean
    :math:`ab / N` and variance :math:`ab (N - a)(N - b) / (N^2 (N - 1))`. Groups are independent.

    Parameters
    ----------
    groups : int [N]
        The group (class, or class and bin) of every image of the full set.
    ours, theirs : int [a], int [b]
        Positions in it, each once.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(group).astype(np.float64)
    a, b = (np.bincount(group[np.asarray(one)], minlength=len(sizes)) for one in (ours, theirs))
    variance = a * b * (sizes - a) * (sizes - b) / (sizes**2 * np.maximum(sizes - 1, 1))
    return Expected(float((a * b / sizes).sum()), math.sqrt(float(variance.sum())))


_COLUMNS = (
    Column("pair", "selections", left=True),
    Column("ours", "first", number),
    Column("theirs", "second", number),
    Column("common", "common", number),
    Column("expected", "by chance", lambda e: "{:,.1f} ± {:.1f}".format(*e)),
    Column("jaccard", "Jaccard", "{:.3f}".format),
    Column("ours_in_theirs", "of first", "{:.1%}".format),
    Column("theirs_in_ours", "of second", "{:.1%}".format),
)


def overlap_table(
    selections: Mapping[str, ArrayLike], groups: ArrayLike, notes: tuple[str, ...] = ()
) -> Table:
    """Return the table of all pairs of selections of one full set.

    Parameters
    ----------
    selections : mapping of name to int [K]
        Positions in the full set.
    groups : int [N]
        The group (class, or class and bin) of every image of the full set.
    """
    rows = [
        {
            "pair": f"{first} / {second}",
            "ours": len(np.asarray(ours)),
            "theirs": len(np.asarray(theirs)),
            "common": common(ours, theirs),
            "expected": expected_overlap(groups, ours, theirs),
            "jaccard": jaccard(ours, theirs),
            "ours_in_theirs": containment(ours, theirs),
            "theirs_in_ours": containment(theirs, ours),
        }
        for (first, ours), (second, theirs) in combinations(selections.items(), 2)
    ]
    told = (
        "by chance: common images of independent random draws with the same counts in each "
        "class, mean ± one standard deviation (hypergeometric).",
        *notes,
    )
    return Table("Overlap of selections", _COLUMNS, rows, told)


def as_stored(table: Table) -> dict[str, Any]:
    """Return the table of :func:`overlap_table` as a file of JSON gives it back."""
    stored: dict[str, Any] = json.loads(json.dumps(as_json(table)))
    return stored


def from_stored(content: Mapping[str, Any]) -> Table:
    """Return the table that :func:`as_stored` told."""
    return Table(content["title"], _COLUMNS, content["rows"], content["notes"])
