"""How much each class misses images that are taken away, and what class-wise methods give it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reports.figures.style import (
    COLOURS,
    GREY,
    Drawing,
    beside,
    grid,
    legend,
    looks,
    panels,
    style,
)
from reports.runs import Record, Series, by_method, labels
from reports.statistics import Estimate, interval_over_seeds
from reports.tables import ascii_name

if TYPE_CHECKING:
    from reports.collection import Setting

_CLASSWISE = ("classwise", "dqas")
_MOST = 40


def class_drawings(setting: Setting, slug: str, series: Sequence[Series]) -> Iterator[Drawing]:
    """Yield the figure of one setting, where one method has accuracies by class at two ratios.

    The control is taken where it has them, for its draws have the same share of every class.
    """
    measured = [
        one
        for one in series
        if one.of == "images"
        and one.name != "full"
        and all("per_class_accuracy" in record["metrics"] for record in one.records)
    ]
    methods = sorted(by_method(measured).values(), key=lambda ones: ones[0].order)
    swept = next((ones for ones in methods if len(ones) > 1), None)
    if swept is None:
        return
    low, high = swept[0], swept[-1]
    names = list(low.records[0]["metrics"]["per_class_accuracy"])
    gains = {name: _mean(high, name).mean - _mean(low, name).mean for name in names}
    order = sorted(names, key=lambda name: (gains[name], name))
    told = ""
    if len(order) > _MOST:
        order = order[: _MOST // 2] + order[-_MOST // 2 :]
        told = f" The {_MOST // 2} least and the {_MOST // 2} most sensitive of {len(names)}."
    dealt = _dealt(series, names)
    with style():
        height = max(2.6, 0.24 * len(order) + 1)
        canvas, [axes] = panels(1, 1 + bool(dealt), 4.2, height, sharey=True)
        for place, name in enumerate(order):
            axes[0].plot(
                [_mean(low, name).mean, _mean(high, name).mean], [place, place],
                color="0.75", linewidth=2, zorder=1,
            )  # fmt: skip
        for one, colour, marker, up in ((low, COLOURS[1], "v", -1), (high, COLOURS[0], "o", 1)):
            values = [_mean(one, name) for name in order]
            axes[0].errorbar(
                [value.mean for value in values],
                [place + 0.13 * up for place in range(len(order))],
                xerr=[value.half_width or 0.0 for value in values],
                color=colour, marker=marker, linestyle="none", markersize=5, capsize=2,
                label=f"{one.percent:g} % of images",
            )  # fmt: skip
        axes[0].set_yticks(range(len(order)), order)
        axes[0].set_xlabel(f"accuracy of the class (%), {low.name}")
        left, right = axes[0].get_xlim()
        axes[0].set_xlim(max(-1.0, left), min(101.0, right))
        grid(axes[0], "x")
        if dealt:
            drawn = looks(dealt)
            axes[1].axvline(100, color=GREY, linewidth=1)
            for number, (method, shares) in enumerate(dealt.items()):
                look = drawn[method]
                axes[1].plot(
                    [shares[name] for name in order],
                    [place + beside(number, len(dealt), 0.12) for place in range(len(order))],
                    color=look.colour, marker=look.marker, linestyle="none", markersize=5,
                    label=method,
                )  # fmt: skip
            axes[1].set_xlabel("images of the class (% of its even share)")
            grid(axes[1], "x")
        legend(canvas, axes, most=3)
    caption = (
        f"Sensitivity of the classes, after DQAS: accuracy of each class at {low.percent:g} % and "
        f"{high.percent:g} % of the images ({low.spec}; mean and 95 % interval over "
        f"{len(low.records)} runs), the least sensitive class at the bottom."
        + " Right: what class-wise methods keep of each class." * bool(dealt)
        + told
        + f" Data: {setting.fingerprint}."
    )
    title = f"Class-wise sensitivity: {setting.title}"
    yield Drawing(ascii_name(f"classes {slug}"), title, caption, canvas)


def _mean(one: Series, name: str) -> Estimate:
    def value(record: Record) -> float:
        return float(record["metrics"]["per_class_accuracy"][name])

    return interval_over_seeds(one.values(value))


def _dealt(series: Sequence[Series], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the classes' images in percent of an even share, for methods that deal unevenly."""
    found: dict[str, dict[str, float]] = {}
    chosen = [one for one in series if one.name in _CLASSWISE]
    called = labels(chosen)
    for ones in by_method(chosen).values():
        one = ones[len(ones) // 2]
        runs = [record["compressed"].get("class_counts", []) for record in one.records]
        if any(len(counts) != len(names) for counts in runs):
            continue
        means = [sum(column) / len(runs) for column in zip(*runs, strict=True)]
        even = sum(means) / len(means)
        label = f"{called[one.method]}, {one.percent:g} %"
        found[label] = {n: 100 * mean / even for n, mean in zip(names, means, strict=True)}
    return found
