"""Accuracy against cost with its Pareto front, and how many trainings repay a selection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from reports.figures.style import (
    GREY,
    Drawing,
    beside,
    grid,
    legend,
    log_axis,
    looks,
    panels,
    style,
    time_axis,
    uncrowded,
    widest,
)
from reports.runs import (
    Series,
    accuracy,
    by_method,
    evaluation_s,
    labels,
    selection_s,
)
from reports.tables import ascii_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from reports.collection import Setting


_WIDTH = 4.5
"""Inches of the axes of break-even, beside the methods' names."""
_FREE = 0.01
"""Trainings of break-even's left edge: a selection that is repaid sooner costs next to nothing."""


class Point(NamedTuple):
    """A method at a ratio: mean seconds of everything, and mean accuracy in percent."""

    seconds: float
    accuracy: float


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one beats in both, by rising cost (the Pareto front)."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (one.seconds, -one.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept


def break_even(selection: float, full: float, reduced: float) -> float | None:
    """Return after how many trainings a selection is repaid, or None for never.

    Parameters
    ----------
    selection : float
        Seconds of selecting once, nothing stored.
    full, reduced : float
        Seconds of one training on the full and on the compressed set.
    """
    return selection / (full - reduced) if full > reduced else None


def cost_drawings(setting: Setting, slug: str, series: Sequence[Series]) -> Iterator[Drawing]:
    """Yield accuracy against cost for one setting with at least three points.

    Of a crowd, and of ablations, the points are drawn without their names.
    """
    there = [one for one in series if one.of == "images"]
    kept = uncrowded(one.spec for one in there if not one.is_ablation)
    here = [one for one in there if one.spec in kept]
    others = [one for one in there if one.spec not in kept]
    accuracies = {(one.method, one.percent): one.estimate(accuracy) for one in there}
    points = {
        (one.method, one.percent): Point(
            one.mean(selection_s) + one.mean(evaluation_s),
            accuracies[one.method, one.percent].mean,
        )
        for one in there
    }
    if len(points) < 3:
        return
    called = labels(here)
    drawn = looks(name for name in called.values() if name != "full")
    best = front(list(points.values()))
    with style():
        canvas, [[axes]] = panels(1, 1, 6, 3.8)
        axes.margins(x=0.08, y=0.1)
        for method, members in by_method(here).items():
            name = called[method]
            found = [points[one.method, one.percent] for one in members]
            look = drawn.get(name)
            axes.errorbar(
                [point.seconds for point in found], [point.accuracy for point in found],
                [accuracies[one.method, one.percent].half_width or 0.0 for one in members],
                color=look.colour if look else GREY, marker=look.marker if look else "*",
                linestyle=":", linewidth=0.8, markersize=9 if look is None else 6, label=name,
                elinewidth=0.8, capsize=2,
            )  # fmt: skip
        beyond = _crowd(axes, [points[one.method, one.percent] for one in others])
        axes.set_ylim(axes.get_ylim())  # the front begins where an unnamed point may lie below
        axes.step(
            [point.seconds for point in best], [point.accuracy for point in best],
            where="post", color="0.7", linewidth=1.5, zorder=1, label="Pareto front",
        )  # fmt: skip
        told: list[Point] = []
        for one in there:
            point = points[one.method, one.percent]
            if point in best and not any(_are_near(point, other) for other in told):
                told.append(point)
                axes.annotate(
                    f"{one.kept_percent:g} %", point, (0, 6), textcoords="offset points",
                    ha="center", fontsize=7, color="0.3",
                )  # fmt: skip
        axes.set_xscale("log")
        time_axis(axes)
        axes.set_xlabel("selection, training and testing, nothing stored (log scale)")
        axes.set_ylabel("test accuracy (%), last epoch")
        grid(axes, "both")
        legend(canvas, [axes])
    caption = (
        "Mean accuracy against the mean time of one cell with its whole selection. Step line: what "
        "no other point beats in both, by means alone; its ratios are told where there is room. "
        "Whiskers: 95 % intervals of accuracy; those of time are not drawn. Times are "
        f"those of the machines in the records ({_devices(there)}). "
        + "Grey: methods with parameters, without their names and intervals. " * bool(others)
        + "Triangles at the lower edge: less accurate than the axis tells. " * beyond
        + f"Data: {setting.fingerprint}."
    )
    yield Drawing(
        ascii_name(f"cost {slug}"), f"Accuracy and cost: {setting.title}", caption, canvas
    )


def _crowd(axes: Axes, others: Sequence[Point]) -> bool:
    """Draw the points without names; return whether some are below the axis of the named ones."""
    if not others:
        return False
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, *(point.accuracy + 0.05 * (high - low) for point in others)))
    below = [point.seconds for point in others if point.accuracy < low]
    near = [point for point in others if point.accuracy >= low]
    axes.plot(
        [point.seconds for point in near], [point.accuracy for point in near],
        color="0.55", marker="o", linestyle="none", markersize=3.5, label="with parameters",
    )  # fmt: skip
    axes.plot(
        below, [low] * len(below), color="0.55", marker="v", linestyle="none", markersize=5,
        clip_on=False,
    )  # fmt: skip
    return bool(below)


def break_even_drawings(setting: Setting, slug: str, series: Sequence[Series]) -> Iterator[Drawing]:
    """Yield for one setting after how many trainings each selection is repaid in time."""
    full = next((one for one in series if one.name == "full"), None)
    here = [
        one
        for one in series
        if one.of == "images" and one.name not in ("full", "random") and not one.is_ablation
    ]
    if full is None or not here:
        return
    trained = full.mean(evaluation_s)
    called = labels(here)
    rows = list(by_method(here).items())
    ratios = sorted({one.kept_percent for one in here})
    drawn = looks(f"{ratio:g} %" for ratio in ratios)
    never, lowest, highest = False, 1.0, 1.0
    with style():
        height = max(2.0, 0.4 * len(rows) + 1.2)
        canvas, [[axes]] = panels(1, 1, _WIDTH, height)
        for place, (_, members) in enumerate(rows):
            for one in members:
                number = ratios.index(one.kept_percent)
                look = drawn[f"{one.kept_percent:g} %"]
                y = place + beside(number, len(ratios), 0.15)
                repaid = break_even(one.mean(selection_s), trained, one.mean(evaluation_s))
                never = never or repaid is None
                lowest = min(lowest, 1.0 if repaid is None else repaid)
                highest = max(highest, repaid or 1.0)
                axes.plot(
                    [1.0 if repaid is None else max(repaid, _FREE)], [y],
                    transform=axes.get_yaxis_transform() if repaid is None else axes.transData,
                    color=look.colour, marker=look.marker, linestyle="none", markersize=6,
                    markerfacecolor="none" if repaid is None else look.colour, clip_on=False,
                    label=f"{one.kept_percent:g} %" if repaid is not None else None,
                )  # fmt: skip
        axes.axvline(1, color=GREY, linewidth=1, linestyle=(0, (6, 3)))
        axes.set_yticks(range(len(rows)), [called[method] for method, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.set_xlim(max(_FREE, lowest / 2), max(10.0, 2 * highest))
        log_axis(axes.xaxis, "{:,g}".format)
        axes.set_xlabel("trainings after which the selection is repaid (log scale)")
        grid(axes, "x")
        canvas.set_size_inches(_WIDTH + widest(canvas, axes.get_yticklabels()), height)
        legend(canvas, [axes])
    caption = (
        "How many trainings on the compressed set it takes until selecting once (nothing stored) "
        "and training on less takes no longer than training as often on the full set, by mean "
        f"times ({_devices([full, *here])}); left of the dashed line the first training repays "
        "it. Time only: what accuracy is lost is not in it."
        + f" Marks at the left edge: {_FREE:g} or less." * (lowest <= _FREE)
        + " Hollow marks at the right edge: never, for training takes as long." * never
        + f" Data: {setting.fingerprint}."
    )
    title = f"Break-even of selecting: {setting.title}"
    yield Drawing(ascii_name(f"break-even {slug}"), title, caption, canvas)


def _are_near(one: Point, other: Point) -> bool:
    """Return whether the words beside two points would lie on each other."""
    apart = abs(one.accuracy - other.accuracy)
    return max(one.seconds, other.seconds) < 1.5 * min(one.seconds, other.seconds) and apart < 5


def _devices(series: Sequence[Series]) -> str:
    found = {record["provenance"]["device"]["device"] for one in series for record in one.records}
    return ", ".join(sorted(found))
