"""Figures of a report, as SVG that is the same for the same records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.storage import replacing
from reports.statistics import Estimate

if TYPE_CHECKING:
    from reports.tables import Table

# Okabe and Ito's palette, which colour-blind readers can tell apart; shapes tell it in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":")


def accuracy_figure(table: Table, path: Path) -> None:
    """Draw accuracy against the share kept, a line a method, from an accuracy table.

    Methods stand a little beside each other, so that their intervals do not cover one another.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    curves: dict[str, list[tuple[float, Estimate]]] = defaultdict(list)
    for row in table.rows:
        if row["accuracy"] is not None:
            curves[row["method"]].append((row["percent"], row["accuracy"]))
    full = curves.pop("full", [])
    ratios = sorted({ratio for points in curves.values() for ratio, _ in points})
    beside = 0.012 * (ratios[-1] - ratios[0] if len(ratios) > 1 else 1.0)
    with mpl.rc_context({"svg.hashsalt": "bench", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
        for number, (method, points) in enumerate(curves.items()):
            offset = beside * (number - (len(curves) - 1) / 2)
            axes.errorbar(
                [ratio + offset for ratio, _ in points],
                [estimate.mean for _, estimate in points],
                [estimate.half_width or 0.0 for _, estimate in points],
                label=method,
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                linestyle=_LINES[number // len(_COLOURS) % len(_LINES)],
                markersize=5,
                linewidth=1.3,
                capsize=3,
            )
        for _, estimate in full[:1]:
            axes.axhline(estimate.mean, color="0.4", linewidth=1, linestyle=(0, (6, 3)))
            axes.annotate(
                f"full data {estimate.mean:.1f}", (0, estimate.mean), (4, 2),
                xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="left", va="bottom", color="0.3", fontsize=8,
            )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axes.set_ylim(top=min(100.0, axes.get_ylim()[1]))
        axes.set_xlabel("training images kept (%)")
        axes.set_ylabel("test accuracy (%), last epoch")
        axes.set_title(f"{table.title}\n{_uncertainty(curves)}", fontsize=9, loc="left")
        axes.grid(axis="y", color="0.9", linewidth=0.7)
        if curves:
            axes.legend(frameon=False, fontsize=8)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        pyplot.close(figure)


def _uncertainty(curves: Mapping[str, Sequence[tuple[float, Estimate]]]) -> str:
    counts = sorted({estimate.n for points in curves.values() for _, estimate in points})
    told = " to ".join(str(n) for n in dict.fromkeys((counts or [0])[:: max(1, len(counts) - 1)]))
    return f"mean and 95 % interval, n = {told}" if counts != [1] else "one run, no interval"
