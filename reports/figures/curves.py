"""Learning curves: test accuracy by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from reports.figures.style import (
    GREY,
    LEFT_OUT,
    Drawing,
    grid,
    legend,
    looks,
    panels,
    style,
    uncrowded,
)
from reports.runs import Record, Series, labels
from reports.statistics import Estimate, interval_over_seeds
from reports.tables import ascii_name

if TYPE_CHECKING:
    from reports.collection import Setting

_MOST_PANELS = 4


def curve_drawings(setting: Setting, slug: str, series: Sequence[Series]) -> Iterator[Drawing]:
    """Yield the curves of one setting, a panel a ratio, where runs were tested more than once."""
    tested = [one for one in series if len(_epochs(one)) > 1 and not one.is_ablation]
    there = [one for one in tested if one.name != "full" and one.of == "images"]
    kept = uncrowded(one.spec for one in there)
    here = [one for one in there if one.spec in kept]
    ratios = _spread(sorted({one.kept_percent for one in here}))
    if not ratios:
        return
    full = next((one for one in tested if one.name == "full"), None)
    called = labels(here)
    drawn = looks(called.values())
    with style():
        canvas, [axes] = panels(1, len(ratios), max(2.4, 4 - len(ratios)), 3.0, sharey=True)
        for place, ratio in enumerate(ratios):
            if full is not None:
                _curve(axes[place].plot, full, "full", color=GREY, linestyle=(0, (6, 3)))
            for one in here:
                if one.kept_percent == ratio:
                    look = drawn[called[one.method]]
                    curve = _curve(
                        axes[place].plot, one, called[one.method], color=look.colour,
                        marker=look.marker, linestyle=look.line, markersize=3.5,
                    )  # fmt: skip
                    axes[place].fill_between(
                        list(curve),
                        [value.mean - (value.half_width or 0) for value in curve.values()],
                        [value.mean + (value.half_width or 0) for value in curve.values()],
                        color=look.colour, alpha=0.12, linewidth=0,
                    )  # fmt: skip
            axes[place].set_title(f"{ratio:g} % of images", loc="left")
            axes[place].set_xlabel("epoch")
            axes[place].set_ylim(0, 100)
            grid(axes[place])
        axes[0].set_ylabel("test accuracy (%)")
        legend(canvas, axes)
    counts = sorted({len(one.records) for one in here})
    caption = (
        "Test accuracy by epoch: mean and 95 % interval over "
        f"{' to '.join(str(n) for n in sorted({counts[0], counts[-1]}))} runs. The last epoch is "
        f"the result. {LEFT_OUT * (len(here) < len(there))}Data: {setting.fingerprint}."
    )
    yield Drawing(
        ascii_name(f"curves {slug}"), f"Learning curves: {setting.title}", caption, canvas
    )


def _curve(plot: object, one: Series, label: str, **look: object) -> Mapping[int, Estimate]:
    """Draw the mean curve of a series; return its estimates by epoch."""
    found: dict[int, Estimate] = {}
    for epoch in _epochs(one):

        def value(record: Record, epoch: int = epoch) -> float:
            return float(record["metrics"]["curve"]["accuracy"][str(epoch)])

        found[epoch] = interval_over_seeds(one.values(value))
    plot(list(found), [value.mean for value in found.values()], label=label, linewidth=1.2, **look)  # type: ignore[operator]
    return found


def _epochs(one: Series) -> list[int]:
    """Return the epochs that all runs of a series were tested after."""
    tested = [set(r["metrics"].get("curve", {}).get("accuracy", {})) for r in one.records]
    return sorted(int(epoch) for epoch in set.intersection(*tested))


def _spread(ratios: Sequence[float]) -> list[float]:
    """Return at most four of the ratios, the first and the last among them."""
    if len(ratios) <= _MOST_PANELS:
        return list(ratios)
    last = len(ratios) - 1
    return [ratios[round(n * last / (_MOST_PANELS - 1))] for n in range(_MOST_PANELS)]
