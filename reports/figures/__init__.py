"""Figures of records, as SVG and PDF that are the same for the same records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.storage import told_as_storage_error
from reports.collection import Collection, Setting
from reports.figures.accuracy import accuracy_canvas, accuracy_figure
from reports.figures.alpha import alpha_drawings
from reports.figures.bars import bar_drawings
from reports.figures.bins import bin_drawings
from reports.figures.classes import class_drawings
from reports.figures.costs import break_even_drawings, cost_drawings
from reports.figures.curves import curve_drawings
from reports.figures.differences import difference_drawings
from reports.figures.grids import grid_drawings
from reports.figures.style import Drawing, Figure
from reports.figures.trajectory import read_studies, trajectory_drawings
from reports.runs import by_setting, series_of

__all__ = ["KINDS", "Figure", "accuracy_figure", "figures", "grid_drawings", "read_studies"]

_OF_A_SETTING = {
    "bars": bar_drawings,
    "differences": difference_drawings,
    "curves": curve_drawings,
    "cost": cost_drawings,
    "break-even": break_even_drawings,
    "classes": class_drawings,
}
KINDS = ("accuracy", *_OF_A_SETTING, "alpha", "bins", "trajectory")
"""What there is to draw; a figure's name begins with its kind."""


def figures(
    records: Iterable[Mapping[str, Any]],
    folder: Path,
    studies: Sequence[Mapping[str, Any]] = (),
    only: Sequence[str] = KINDS,
) -> list[Figure]:
    """Draw every figure for which the records suffice; skip the others.

    Parameters
    ----------
    records : iterable of mapping
        As they are stored.
    folder : Path
        Where ``NAME.svg`` and ``NAME.pdf`` are written; made when missing.
    studies : sequence of mapping
        What records do not hold, as :func:`read_studies` returns it.
    only : sequence of str
        The :data:`KINDS` to draw.

    Returns
    -------
    list of Figure
        In the order of a report: by setting, then what compares settings.
    """
    with told_as_storage_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return [drawing.saved(folder) for drawing in drawings(list(records), studies, only)]


def drawings(
    records: Sequence[Mapping[str, Any]],
    studies: Sequence[Mapping[str, Any]] = (),
    only: Sequence[str] = KINDS,
) -> Iterator[Drawing]:
    """Yield the figures one by one, each with a name of its own."""
    names: dict[str, int] = {}
    for drawing in _all(records, studies, only):
        count = names[drawing.name] = names.get(drawing.name, 0) + 1
        name = drawing.name if count == 1 else f"{drawing.name}-{count}"
        yield Drawing(name, drawing.title, drawing.caption, drawing.canvas)


def _all(
    records: Sequence[Mapping[str, Any]], studies: Sequence[Mapping[str, Any]], only: Sequence[str]
) -> Iterator[Drawing]:
    collection = Collection.of(records)
    series = series_of(records, collection.rows)
    for setting, here in by_setting(series).items():
        slug = collection.slug(setting)
        if "accuracy" in only:
            yield _accuracy(collection, setting, slug)
        for kind, make in _OF_A_SETTING.items():
            if kind in only:
                yield from make(setting, slug, here)
    if "alpha" in only:
        yield from alpha_drawings(series)
    if "bins" in only:
        yield from bin_drawings(series)
    if "trajectory" in only:
        yield from trajectory_drawings(studies)


def _accuracy(collection: Collection, setting: Setting, slug: str) -> Drawing:
    from reports.summary import accuracy_table

    return Drawing(
        f"accuracy-{slug}",
        f"Accuracy and ratio: {setting.title}",
        "Test accuracy of the last epoch against the share of images kept. "
        f"Data: {setting.fingerprint}.",
        accuracy_canvas(accuracy_table(collection, setting)),
    )
