"""How much methods' selections have in common, with one another and with released index files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reports.overlap import common, expected_overlap, jaccard
from reports.papers.layout import Cells
from reports.runs import Record, Series, labels
from reports.tables import Column, Table, ascii_name, number

if TYPE_CHECKING:
    from bench.arrays import IntArray

Indices = Callable[[Record], "IntArray | None"]


def stored_indices(results: Path) -> Indices:
    """Return a function that reads a record's selection from a results folder's artefacts.

    It returns None where the artefact is gone, and for synthetic images.
    """
    from bench.artefacts import ArtefactStore

    store = ArtefactStore(results / "artefacts", warn=lambda message: None)

    def read(record: Record) -> IntArray | None:
        artefacts = record["cost"].get("artefacts", {})
        ids = [name for name, cost in artefacts.items() if cost["kind"] == "compressed"]
        stored = store.load(ids[-1]) if ids else None
        if stored is None or not len(stored.arrays["indices"]):
            return None
        indices: IntArray = stored.arrays["indices"].astype(np.int64)
        return indices

    return read


def overlap_tables(
    series: Iterable[Series],
    indices: Indices,
    released: Mapping[str, IntArray] | None = None,
) -> list[Table]:
    """Return a table for each data set, ratio and selection seed: all pairs of selections.

    Parameters
    ----------
    series : iterable of Series
        Their settings of training do not matter.
    indices : callable
        Returns the positions that a record's method kept, or None, as :func:`stored_indices`.
    released : mapping of name to int64 [K]
        Other selections of the same training split in the same order, e.g. the index files that
        DQ and ADQ ship for CIFAR-10; compared with all that are not larger than twice theirs.
    """
    series = [one for one in series if one.name != "full"]
    called = labels(series)
    found: dict[_Place, dict[str, Record]] = defaultdict(dict)
    for one in series:
        for record in one.records:
            seed = record["cell"]["selection_seed"] if one.seeded else 0
            place = _Place(*one.setting[:2], one.percent, one.of, seed)
            found[place].setdefault(called[one.method], record)
    tables = []
    for place, by_name in sorted(found.items()):
        read = {name: indices(record) for name, record in by_name.items()}
        kept = {name: one for name, one in read.items() if one is not None}
        others = {
            name: one
            for name, one in (released or {}).items()
            if any(len(mine) / 2 <= len(one) <= 2 * len(mine) for mine in kept.values())
        }
        if kept and len(kept) + len(others) > 1:
            tables.append(_table(place, by_name, kept, others))
    return tables


class _Place(NamedTuple):
    """What all selections of one table share."""

    dataset: str
    fingerprint: str
    percent: float
    of: str
    seed: int

    @property
    def title(self) -> str:
        """The place in words."""
        return f"{self.dataset}, {self.percent:g} % of {self.of}, selection seed {self.seed}"


def _table(
    place: _Place,
    records: Mapping[str, Record],
    kept: Mapping[str, IntArray],
    released: Mapping[str, IntArray],
) -> Table:
    full = next(iter(records.values()))["compressed"]["full_images"]
    everything = np.zeros(full, dtype=np.int64)
    selections = {**kept, **released}
    ids = {name: [records[name]["id"]] for name in kept}
    rows: list[dict[str, Any]] = []
    links: Cells = {}
    for number_of_row, (first, second) in enumerate(combinations(selections, 2)):
        ours, theirs = selections[first], selections[second]
        expected = expected_overlap(everything, ours, theirs)
        rows.append(
            {
                "pair": f"{first} / {second}",
                "ours": len(ours),
                "theirs": len(theirs),
                "common": common(ours, theirs),
                "expected": expected.mean,
                "deviation": expected.deviation,
                "jaccard": jaccard(ours, theirs),
            }
        )
        links[number_of_row, "common"] = [*ids.get(first, []), *ids.get(second, [])]
    notes = [
        f"Data: {place.fingerprint}. Jaccard: common images of those in either selection.",
        "By chance: common images of two independent random draws of as many, mean ± one standard "
        "deviation (hypergeometric, classes not told apart). Paired draws (draw=paired, the "
        "default) share their dice on purpose and have more in common than that.",
    ]
    if released:
        notes.append(
            f"{', '.join(released)}: positions as released; they mean the same images only where "
            "the training split is in the order that they were made for."
        )
    return Table(
        f"Overlap of selections: {place.title}", _COLUMNS, rows, notes,
        links=links, name=ascii_name(f"overlap {place.title}"),
    )  # fmt: skip


_COLUMNS = (
    Column("pair", "selections", left=True),
    Column("ours", "first", number),
    Column("theirs", "second", number),
    Column("common", "common", number),
    Column("expected", "by chance", "{:.1f}".format),
    Column("deviation", "±", "{:.1f}".format),
    Column("jaccard", "Jaccard", "{:.3f}".format),
)
