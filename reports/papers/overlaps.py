"""How much methods' selections have in common, with one another and with released index files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import DataError
from bench.results import RELEASED
from reports.collection import Setting, with_axis
from reports.overlap import PAIRED_DRAWS, common, expected_overlap, jaccard
from reports.papers.layout import Cells
from reports.reading import selection_of
from reports.runs import Record, Series, labels
from reports.statistics import Estimate, t_interval
from reports.tables import Column, Table, ascii_name, number, plus_minus

if TYPE_CHECKING:
    from bench.arrays import IntArray

Indices = Callable[[Record], "IntArray | None"]


def stored_indices(results: Path) -> Indices:
    """Return a function that reads a record's selection from a results folder's artefacts.

    It returns None where the artefact is gone, and for synthetic images.
    """
    from bench.artefacts import ArtefactStore

    store = ArtefactStore(results / "artefacts", warn=lambda message: None)
    there = store.ids()

    @cache
    def load(identifier: str) -> IntArray | None:
        stored = store.load(identifier)
        if stored is None or not len(stored.arrays["indices"]):
            return None
        indices: IntArray = stored.arrays["indices"].astype(np.int64)
        return indices

    def read(record: Record) -> IntArray | None:
        identifier = selection_of(record)
        return load(identifier) if identifier in there else None

    return read


def released_indices(
    results: Path, leave_out: Callable[[str], None]
) -> dict[str, dict[str, IntArray]]:
    """Return the index files that lie in a results folder, by data set and name.

    They are put there by hand: ``released/cifar10/NAME.npy``, ``.csv`` or ``.txt``, positions in
    the training split of the data set of that name. ``leave_out`` is told of each that cannot be
    used, and why.
    """
    from bench.indices import read_indices

    found: dict[str, dict[str, IntArray]] = {}
    for path in sorted((results / RELEASED).glob("*/[!.]*")):
        if path.is_file():
            try:
                numbers = read_indices(path).numbers
            except DataError as error:
                leave_out(str(error))
                continue
            if len(numbers):
                found.setdefault(path.parent.name, {})[path.stem] = numbers
            else:
                leave_out(f"{path} lists files, without their positions. Give positions")
    return found


def overlap_tables(
    series: Iterable[Series],
    indices: Indices,
    released: Mapping[str, Mapping[str, IntArray]] | None = None,
) -> list[Table]:
    """Return a table for each data set: all pairs of selections, by ratio, over their seeds.

    Parameters
    ----------
    series : iterable of Series
        Their settings of training do not matter.
    indices : callable
        Returns the positions that a record's method kept, or None, as :func:`stored_indices`.
    released : mapping of data set to mapping of name to int64 [K]
        Other selections of the same training split in the same order, e.g. the index files that
        DQ and ADQ ship for CIFAR-10; compared with all of half to twice their size.
    """
    by_data: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        if one.name != "full":
            by_data[one.setting.dataset, one.setting.fingerprint].append(one)
    tables = []
    for (dataset, _), members in by_data.items():
        others = (released or {}).get(dataset.partition("[")[0], {})
        rows, links = _compared(members, indices, others)
        if rows:
            tables.append(_table(dataset, members[0].setting, rows, links))
    return tables


Row = dict[str, Any]
Kept = dict[int | None, tuple[str, "IntArray"]]
"""A method's selections with the cells that they are read from, by selection seed.

Under None: a selection that stands for every seed.
"""


def _compared(
    series: list[Series], indices: Indices, released: Mapping[str, IntArray]
) -> tuple[list[Row], Cells]:
    called = labels(series)
    found: dict[tuple[str, float], dict[str, Kept]] = defaultdict(lambda: defaultdict(dict))
    full = 0
    for one in series:
        kept = found[one.of, one.kept_percent][called[one.method]]
        for record in one.records:
            full = record["compressed"]["full_images"]
            seed = record["cell"]["selection_seed"] if one.seeded else None
            if seed not in kept and (read := indices(record)) is not None:
                kept[seed] = (record["id"], read)
    theirs: dict[str, Kept] = {
        f"{RELEASED}/{name}": {None: ("", chosen)}
        for name, chosen in released.items()
        if chosen.max() < full
    }
    rows: list[Row] = []
    links: Cells = {}
    for (of, percent), ours in sorted(found.items()):
        pairs = [*combinations(ours, 2), *((mine, name) for mine in ours for name in theirs)]
        for first, second in pairs:
            both = _matched(ours[first], ours.get(second) or theirs.get(second, {}))
            if not both or (second in theirs and not _are_alike(both[0])):
                continue
            links[len(rows), "common"] = list(
                dict.fromkeys(i for pair in both for i, _ in pair if i)
            )
            rows.append({"pair": f"{first} / {second}", "percent": percent, "of": of,
                         **_measures(both, full)})  # fmt: skip
    return rows, links


Pair = tuple[tuple[str, "IntArray"], tuple[str, "IntArray"]]


def _matched(ours: Kept, theirs: Kept) -> list[Pair]:
    """Return the pairs of selections of the same seed; one without stands for every seed."""
    seeds = {*ours, *theirs} - {None} or {None}
    pairs = [
        (ours.get(seed) or ours.get(None), theirs.get(seed) or theirs.get(None))
        for seed in sorted(seeds, key=lambda seed: seed or 0)
    ]
    return [(mine, other) for mine, other in pairs if mine is not None and other is not None]


def _are_alike(pair: Pair) -> bool:
    (_, ours), (_, theirs) = pair
    return len(ours) / 2 <= len(theirs) <= 2 * len(ours)


def _measures(pairs: list[Pair], full: int) -> Row:
    everything = np.zeros(full, dtype=np.int64)
    chosen = [(ours, theirs) for (_, ours), (_, theirs) in pairs]
    expected = expected_overlap(everything, *chosen[0])
    return {
        "ours": len(chosen[0][0]),
        "theirs": len(chosen[0][1]),
        "common": t_interval([common(*pair) for pair in chosen]),
        "expected": expected.mean,
        "deviation": expected.deviation,
        "jaccard": t_interval([jaccard(*pair) for pair in chosen]),
        "n": len(chosen),
    }


def _table(dataset: str, setting: Setting, rows: list[Row], links: Cells) -> Table:
    called, fingerprint = setting.data, setting.fingerprint
    notes = [
        f"Data: {called} ({fingerprint}). First, second: images kept, of the first seed. Common, "
        "Jaccard (common images of those in either): mean ± half of the 95 % interval over n "
        "selection seeds. How the sets are trained on (the protocol) does not matter.",
        "By chance: common images of two independent random draws of as many, mean ± one standard "
        f"deviation (hypergeometric, classes not told apart). {PAIRED_DRAWS}",
        f"Index files of others in {RELEASED}/{dataset.partition('[')[0]}/ are compared too: "
        "positions in the training split, which mean the same images only where it is in the "
        "order that they were made for.",
    ]
    return Table(
        f"Overlap of selections: {called}", with_axis(_COLUMNS, rows), rows, notes,
        links=links, name=ascii_name(f"overlap {called} {fingerprint}"),
    )  # fmt: skip


def _images(estimate: Estimate) -> str:
    return f"{estimate.mean:,.1f}{plus_minus(estimate, '{:,.1f}'.format)}"


def _share(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f}{plus_minus(estimate, '{:.3f}'.format)}"


_COLUMNS = (
    Column("pair", "selections", left=True),
    Column("percent", "kept %", number),
    Column("ours", "first", number),
    Column("theirs", "second", number),
    Column("common", "common", _images),
    Column("expected", "by chance", "{:,.1f}".format),
    Column("deviation", "±", "{:.1f}".format),
    Column("jaccard", "Jaccard", _share),
    Column("n", "n", number),
)
