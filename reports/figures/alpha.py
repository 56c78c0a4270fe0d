"""Accuracy against ADQ's alpha: its Fig. 6."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from reports.figures.style import (
    COLOURS,
    Drawing,
    grid,
    legend,
    panels,
    runs_in_words,
    style,
)
from reports.runs import Series, accuracy, control_at
from reports.tables import ascii_name

_FEWEST = 3
DEFAULT_ALPHA = 0.65
"""ADQ's here, which a spec leaves out."""


def alpha_drawings(series: Sequence[Series]) -> Iterator[Drawing]:
    """Yield a figure for each data set, protocol and kind of ADQ with at least three alphas.

    A row for each network, a column for each ratio; scales differ, since alpha changes little.
    """
    found: dict[tuple[Any, ...], list[Series]] = defaultdict(list)
    for one in series:
        if one.name == "adq" and "scores" not in one.given and one.of == "images":
            kind = tuple(sorted((k, v) for k, v in one.given.items() if k != "alpha"))
            found[(one.setting.data, one.setting.fingerprint, one.setting.protocol, kind)].append(
                one
            )
    for (dataset, fingerprint, protocol, kind), members in found.items():
        cells: dict[tuple[str, float], list[Series]] = defaultdict(list)
        for one in members:
            cells[one.setting.model, one.percent].append(one)
        cells = {
            place: sorted(ones, key=alpha_of)
            for place, ones in cells.items()
            if len({alpha_of(one) for one in ones}) >= _FEWEST
        }
        if not cells:
            continue
        models = list(dict.fromkeys(model for model, _ in cells))
        ratios = sorted({ratio for _, ratio in cells})
        estimates = []
        with style():
            canvas, grids = panels(len(models), len(ratios), 2.4, 2.2, sharex=True)
            for (model, ratio), ones in cells.items():
                axes = grids[models.index(model)][ratios.index(ratio)]
                values = [one.estimate(accuracy) for one in ones]
                estimates += values
                axes.errorbar(
                    [alpha_of(one) for one in ones],
                    [value.mean for value in values],
                    [value.half_width or 0.0 for value in values],
                    color=COLOURS[1], marker="s", markersize=4, linewidth=1.2, capsize=2,
                    label="adq",
                )  # fmt: skip
                here = [one for one in series if one.setting == ones[0].setting]
                for name, dashes in (("random", (0, (1, 2))), ("dq", (0, (6, 3)))):
                    control = control_at(here, ones[0], name)
                    if control is not None:
                        colour = "black" if name == "random" else COLOURS[0]
                        mean = control.mean(accuracy)
                        axes.axhline(mean, color=colour, linewidth=1, linestyle=dashes, label=name)
                axes.axvspan(0.6, 0.7, color="0.93", zorder=0)
                axes.set_title(f"{model}, {ratio:g} %", loc="left")
                grid(axes)
            for row, column in (
                (row, column)
                for row, model in enumerate(models)
                for column, ratio in enumerate(ratios)
                if (model, ratio) not in cells
            ):
                grids[row][column].set_axis_off()
            for axes in grids[-1]:
                axes.set_xlabel("α")
            for line_of in grids:
                line_of[0].set_ylabel("accuracy (%)")
            legend(canvas, [axes for line_of in grids for axes in line_of])
        told = "".join(f", {key}={value}" for key, value in kind)
        caption = (
            f"As ADQ's Fig. 6: accuracy against α, {runs_in_words(estimates)}; α = 0 draws as DQ "
            "does. Grey band: where the paper finds its best. "
            f"{'Note the scales: each panel has its own. ' * (len(cells) > 1)}"
            f"Data: {fingerprint}{told}."
        )
        name = ascii_name(f"alpha {dataset} {protocol} {' '.join(v for _, v in kind)}")
        yield Drawing(name, f"Accuracy against α: {dataset}, protocol {protocol}", caption, canvas)


def alpha_of(one: Series) -> float:
    """Return a series' alpha."""
    stated = one.records[0]["cell"]["method"].get("parameters", {}).get("alpha")
    return float(one.given.get("alpha", DEFAULT_ALPHA) if stated is None else stated)
