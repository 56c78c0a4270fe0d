"""Every method's difference to random, ratio by ratio: a forest plot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from reports.figures.style import COLOURS, GREY, Drawing, grid, panels, style, widest
from reports.runs import Series, accuracy, control_at, difference, labels
from reports.tables import ascii_name, number
from reports.tables import difference as in_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from reports.collection import Setting
    from reports.statistics import Estimate

_FEWEST = 3
"""Methods that make a ratio worth a panel."""
_MOST_RATIOS = 4
_FIRM = 3
"""Pairs; the interval of two would make a point of all others."""
_FAR, _LEAST = 3.0, 1.0
"""Interquartile ranges from the nearer quartile, Tukey's far out values, and at least a point."""
_SQUEEZED = 2.0
"""How many times as wide an axis may become by the far ones."""
_COLOUR = COLOURS[0]
_WIDTH = 2.9
"""Inches of a panel without what stands beside it."""
_Found = Mapping[tuple[str, str], "Estimate"]


def difference_drawings(setting: Setting, slug: str, series: Sequence[Series]) -> Iterator[Drawing]:
    """Yield the figure of one setting, where three methods have runs that pair with random's."""
    found: dict[tuple[float, str], dict[tuple[str, str], Estimate]] = {}
    for one in series:
        control = control_at(series, one)
        if not one.is_budgeted or control is None or one.name == control.name:
            continue
        value = difference(one, control, accuracy)
        if value is not None:
            found.setdefault((one.percent, one.of), {})[one.method] = value
    told = [key for key in sorted(found) if len(found[key]) >= _FEWEST]
    ratios = sorted(sorted(told, key=lambda key: -len(found[key]))[:_MOST_RATIOS])
    rows = _largest_first([found[key] for key in ratios])
    if not rows:
        return
    called = labels(one for one in series if one.method in rows)
    with style():
        height = 0.8 + 0.21 * len(rows)
        canvas, [axes] = panels(1, len(ratios), _WIDTH, height, sharey=True)
        for key, one_axes in zip(ratios, axes, strict=True):
            _forest(one_axes, found[key], rows)
            one_axes.set_title(_title(*key), loc="left")
            one_axes.tick_params(axis="y", length=0)
            one_axes.set_xlabel("difference to random (points)")
        axes[0].set_yticks(range(len(rows)), [called[method] for method in rows])
        axes[0].set_ylim(len(rows) - 0.4, -0.6)
        numbers = sum(widest(canvas, one_axes.texts) for one_axes in axes)
        names = widest(canvas, axes[0].get_yticklabels())
        canvas.set_size_inches(len(ratios) * _WIDTH + numbers + names, height)
    left_out = len(found) - len(ratios)
    few = any(one.n < _FIRM for key in ratios for one in found[key].values())
    beyond = any(_beyond(found[key].values(), one) for key in ratios for one in found[key].values())
    caption = (
        "Accuracy of the last epoch, method minus class-balanced random, paired over common seeds "
        "at the same ratio and training; mean and 95 % interval, which is not corrected for the "
        "number of methods; n pairs. Largest first"
        f"{', at the first ratio that a method was run at' * (len(ratios) > 1)}. "
        f"{'Arrows: the mean lies beyond the axis, its interval is not drawn. ' * beyond}"
        f"{f'Intervals of fewer than {_FIRM} pairs may go beyond the axis. ' * few}"
        f"{f'Of {len(found)} ratios {left_out} not shown. ' * bool(left_out)}"
        f"Data: {setting.fingerprint}."
    )
    title = f"Differences to random: {setting.title}"
    yield Drawing(ascii_name(f"differences {slug}"), title, caption, canvas)


def _title(percent: float, of: str) -> str:
    return f"{number(percent)} % of {of}"


def _largest_first(found: Sequence[_Found]) -> list[tuple[str, str]]:
    """Return the methods by their difference at the first of the ratios that they were run at."""
    rows: dict[tuple[str, str], None] = {}
    for here in found:
        rows |= dict.fromkeys(sorted(here, key=lambda method: (-here[method].mean, method)))
    return list(rows)


def _forest(axes: Axes, found: _Found, rows: Sequence[tuple[str, str]]) -> None:
    axes.axvline(0, color=GREY, linewidth=1)
    for place, method in enumerate(rows):
        value = found.get(method)
        if value is None:
            continue
        if _beyond(found.values(), value):
            _arrow(axes, place, value.mean)
        else:
            axes.errorbar(
                [value.mean],
                [place],
                xerr=[value.half_width or 0.0],
                color=_COLOUR,
                marker="o",
                linestyle="none",
                markersize=4,
                capsize=3,
            )
        axes.annotate(
            in_points(value) + f", n = {value.n}" * (value.half_width != 0), (1, place), (4, 0),
            xycoords=("axes fraction", "data"), textcoords="offset points", ha="left", va="center",
            color="0.3", fontsize=7,
        )  # fmt: skip
    axes.set_xlim(*_limits(found.values()))
    grid(axes, "both")


def _arrow(axes: Axes, place: int, mean: float) -> None:
    """Tell at the axis's edge that a mean lies beyond it."""
    edge, sign = (0.0, 1) if mean < 0 else (1.0, -1)
    axes.annotate(
        "", (edge, place), (sign * 14, 0),
        xycoords=("axes fraction", "data"), textcoords="offset points",
        arrowprops={"arrowstyle": "-|>", "color": _COLOUR, "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip


def _beyond(values: Collection[Estimate], one: Estimate) -> bool:
    low, high = _limits(values)
    return not low <= one.mean <= high


def _limits(values: Collection[Estimate]) -> tuple[float, float]:
    """Return the ends of the axis, which far means are beyond where they would squeeze it."""
    first, third = np.quantile([one.mean for one in values], (0.25, 0.75))
    reach = max(_FAR * (third - first), _LEAST)
    near = [one for one in values if first - reach <= one.mean <= third + reach]
    ends, all_ends = _span(near), _span(values)
    squeezes = all_ends[1] - all_ends[0] > _SQUEEZED * (ends[1] - ends[0])
    low, high = ends if squeezes else all_ends
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def _span(values: Iterable[Estimate]) -> tuple[float, float]:
    """Return the ends of all intervals and 0; of two pairs only the means."""
    firm = [(one.mean, (one.half_width or 0.0) if one.n >= _FIRM else 0.0) for one in values]
    low = min(0.0, *(mean - half for mean, half in firm))
    high = max(0.0, *(mean + half for mean, half in firm))
    return (low, high) if high - low > 0.1 else (low, low + 0.1)
