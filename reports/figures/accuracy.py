"""Accuracy against the share kept."""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contract import RECONSTRUCTION
from reports.figures.style import (
    GREY,
    beside,
    grid,
    legend,
    line,
    looks,
    panels,
    runs_in_words,
    save,
    style,
    uncrowded,
)
from reports.runs import METHOD_ORDER
from reports.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from reports.tables import Table

_WIDE = 12
_TITLE = 76
"""Letters that have room above the axes."""


def accuracy_figure(table: Table, path: Path) -> None:
    """Draw accuracy against the share kept, a line a method, from an accuracy table.

    Methods stand a little beside each other, so that their intervals do not cover one another.
    """
    save(accuracy_canvas(table), path)


def accuracy_canvas(table: Table) -> Canvas:
    """Return the drawing of :func:`accuracy_figure`."""
    curves: dict[str, list[tuple[float, Estimate]]] = defaultdict(list)
    for row in table.rows:
        if row["accuracy"] is not None:
            of = "" if row.get("of", "images") == "images" else f" (of {row['of']})"
            mark = RECONSTRUCTION * row["method"].endswith(RECONSTRUCTION)
            curves[row["spec"] + mark + of].append((row["percent"], row["accuracy"]))
    full = next((curves.pop(name) for name in list(curves) if name.split()[0] == "full"), [])
    kept = uncrowded(curves)
    is_reduced = len(kept) < len(curves)
    curves = defaultdict(list, {name: curves[name] for name in kept})
    ratios = sorted({ratio for points in curves.values() for ratio, _ in points})
    is_wide = len(ratios) > 1 and ratios[-1] / ratios[0] >= _WIDE
    place = (lambda ratio: math.log10(ratio)) if is_wide else (lambda ratio: ratio)
    curves = defaultdict(list, sorted(curves.items(), key=lambda curve: _order(curve[0])))
    gaps = [place(b) - place(a) for a, b in pairwise(ratios)] or [1.0]
    width = min(
        (0.012 if len(ratios) > 1 else 0.04) * sum(gaps), 0.5 * min(gaps) / max(1, len(curves))
    )
    drawn = looks(curves)
    with style():
        canvas, [[axes]] = panels(1, 1, 6, 3.8)
        for number, (method, points) in enumerate(curves.items()):
            offset = beside(number, len(curves), width)
            x = [place(ratio) + offset for ratio, _ in points]
            line(axes, x, [estimate for _, estimate in points], drawn[method], method)
        for _, estimate in full[:1]:
            axes.axhline(estimate.mean, color=GREY, linewidth=1, linestyle=(0, (6, 3)))
            axes.annotate(
                f"full data\n{estimate.mean:.1f}", (1, estimate.mean), (4, 0),
                xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="left", va="center", color="0.3", fontsize=8,
            )  # fmt: skip
        axes.set_xticks([place(ratio) for ratio in ratios], [f"{ratio:g}" for ratio in ratios])
        if len(ratios) == 1:
            axes.set_xlim(place(ratios[0]) - 0.5, place(ratios[0]) + 0.5)
        axes.set_ylim(top=min(100.0, axes.get_ylim()[1]))
        axes.set_xlabel("training images kept (%)" + ", log scale" * is_wide)
        axes.set_ylabel("test accuracy (%), last epoch")
        estimates = [estimate for points in curves.values() for _, estimate in points]
        told = runs_in_words(estimates) + "; methods with parameters left out" * is_reduced
        if any(one.mean + (one.half_width or 0.0) > 100 for one in estimates):
            told += "; intervals cut at 100"
        title = textwrap.fill(table.title, _TITLE, break_on_hyphens=False)
        axes.set_title(f"{title}\n{told}", loc="left")
        grid(axes)
        legend(canvas, [axes])
    return canvas


def _order(name: str) -> tuple[int, str]:
    """Sorts curves by their methods, as in the other figures."""
    method = name.split("[")[0].split()[0]
    return (METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER)), name
