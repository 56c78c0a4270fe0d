"""Accuracies as bars, differences to random, and low ratios: ADQ's Fig. 5."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from reports.figures.style import (
    GREY,
    LEFT_OUT,
    Drawing,
    Looks,
    beside,
    grid,
    legend,
    lighter,
    line,
    looks,
    panels,
    runs_in_words,
    style,
    uncrowded,
)
from reports.runs import Series, accuracy, by_method, control_at, difference, labels
from reports.tables import ascii_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from reports.collection import Setting

_Method = tuple[str, str]
LOW = 10.0
"""Percent; ratios up to it are low ones."""


def bar_drawings(setting: Setting, slug: str, series: Sequence[Series]) -> Iterator[Drawing]:
    """Yield the figure of one setting, where two methods have runs at one ratio."""
    there = [
        one for one in series if one.name != "full" and not one.is_ablation and one.of == "images"
    ]
    kept = uncrowded(one.spec for one in there)
    here = [one for one in there if one.spec in kept]
    methods = list(by_method(here))
    ratios = sorted({one.kept_percent for one in here})
    if len(methods) < 2 or not ratios:
        return
    called = labels(here)
    drawn = looks(called.values())
    full = next((one for one in series if one.name == "full"), None)
    low = [ratio for ratio in ratios if ratio <= LOW]
    bars = [ratio for ratio in ratios if ratio >= LOW] or ratios
    with style():
        wide = max(3.2, 0.22 * len(bars) * len(methods) + 1)
        canvas, [axes] = panels(1, 2 + (len(low) > 1), wide, 3.2)
        _bars(axes[0], here, called, drawn, bars)
        if full is not None:
            axes[0].axhline(full.mean(accuracy), color=GREY, linewidth=1, linestyle=(0, (6, 3)))
            axes[0].set_title(f"accuracy (%); dashed: full {full.mean(accuracy):.1f}", loc="left")
        else:
            axes[0].set_title("accuracy (%)", loc="left")
        _differences(axes[1], here, called, drawn, bars)
        axes[1].set_title("difference to random (points)", loc="left")
        for one_axes in axes[:2]:
            one_axes.set_xticks(range(len(bars)), [f"{ratio:g}" for ratio in bars])
        if len(low) > 1:
            for number, (method, members) in enumerate(by_method(here).items()):
                points = [one for one in members if one.kept_percent in low]
                offset = 10 ** beside(number, len(methods), 0.02)
                x = [one.kept_percent * offset for one in points]
                name = called[method]
                line(axes[2], x, [one.estimate(accuracy) for one in points], drawn[name], name)
            axes[2].set_xscale("log")
            axes[2].set_xticks(low, [f"{ratio:g}" for ratio in low])
            axes[2].minorticks_off()  # their labels would be formulas
            axes[2].set_title("low ratios, accuracy (%)", loc="left")
            grid(axes[2])
        for one_axes in axes:
            one_axes.set_xlabel("training images kept (%)")
        legend(canvas, axes)
    n = runs_in_words([one.estimate(accuracy) for one in here])
    caption = (
        f"As ADQ's Fig. 5: test accuracy of the last epoch by ratio, {n}. Differences to random "
        "are paired over common seeds, at the same ratio and training. "
        f"{LEFT_OUT * (len(here) < len(there))}"
        f"Data: {setting.fingerprint}."
    )
    yield Drawing(
        ascii_name(f"bars {slug}"), f"Accuracy by ratio: {setting.title}", caption, canvas
    )


def _bars(
    axes: Axes,
    here: Sequence[Series],
    called: dict[tuple[str, str], str],
    drawn: Looks,
    ratios: Sequence[float],
) -> None:
    width = 0.8 / len(by_method(here))
    places = _places(((one.method, one.kept_percent) for one in here), ratios, width)
    for method, members in by_method(here).items():
        points = [one for one in members if one.kept_percent in ratios]
        found = [one.estimate(accuracy) for one in points]
        look = drawn[called[method]]
        axes.bar(
            [places[method, one.kept_percent] for one in points],
            [value.mean for value in found],
            width,
            yerr=[value.half_width or 0.0 for value in found],
            label=called[method],
            color=lighter(look.colour),
            edgecolor=look.colour,
            hatch=look.hatch,
            capsize=2,
            error_kw={"linewidth": 1},
        )
    axes.set_xlim(*_room(ratios))
    axes.set_ylim(0, 100)
    grid(axes)


def _differences(
    axes: Axes,
    here: Sequence[Series],
    called: dict[tuple[str, str], str],
    drawn: Looks,
    ratios: Sequence[float],
) -> None:
    found = {}
    for one in here:
        control = control_at(here, one)
        if one.name != "random" and one.kept_percent in ratios and control is not None:
            found[one.method, one.kept_percent] = difference(one, control, accuracy)
    told = {place: value for place, value in found.items() if value is not None}
    places = _places(told, ratios, 0.7 / max(1, len({method for method, _ in told})))
    axes.axhline(0, color=GREY, linewidth=1)
    for (method, ratio), value in told.items():
        look = drawn[called[method]]
        axes.errorbar(
            [places[method, ratio]],
            [value.mean],
            [value.half_width or 0.0],
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            markersize=5,
            capsize=3,
        )
    axes.set_xlim(*_room(ratios))
    grid(axes)


def _places(
    there: Iterable[tuple[_Method, float]], ratios: Sequence[float], width: float
) -> Mapping[tuple[_Method, float], float]:
    """Return where the methods of each ratio stand: side by side around its mark."""
    found: dict[float, list[_Method]] = defaultdict(list)
    for method, ratio in there:
        found[ratio].append(method)
    return {
        (method, ratio): place + beside(number, len(found[ratio]), width)
        for place, ratio in enumerate(ratios)
        for number, method in enumerate(found[ratio])
    }


def _room(ratios: Sequence[float]) -> tuple[float, float]:
    return -0.6, len(ratios) - 0.4
