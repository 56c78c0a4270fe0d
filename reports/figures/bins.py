"""Scores and draws by bin: ADQ's Fig. 2, from what its runs note."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports.figures.style import (
    Drawing,
    Look,
    grid,
    legend,
    line,
    looks,
    panels,
    runs_in_words,
    style,
)
from reports.runs import Series, labels
from reports.statistics import Estimate, t_interval
from reports.tables import ascii_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCORES = {
    "rs": "representativeness (RS)",
    "ds": "diversity (DS)",
    "rs+ds": "importance (IS = RS + DS)",
}
_ROOM = 0.05
"""Share of an axis."""
_LOOKS = {
    score: Look("0.25", marker, "-", "") for score, marker in zip(_SCORES, "^vD", strict=True)
}


def bin_drawings(series: Sequence[Series]) -> Iterator[Drawing]:
    """Yield a figure for each data set, ratio and kind of ADQ that noted importances of bins.

    Its scores come from the runs with ``scores=rs``, ``ds`` and ``rs+ds``, one selection counted
    once however often it was trained on. The last panel shows what was drawn of each bin.
    """
    found: dict[tuple[Any, ...], dict[str, Series]] = defaultdict(dict)
    draws: dict[tuple[Any, ...], list[Series]] = defaultdict(list)
    for one in series:
        place = (one.setting.data, one.setting.fingerprint, one.kept_percent, one.of)
        kind = tuple(sorted((k, v) for k, v in one.given.items() if k not in ("scores", "alpha")))
        notes = one.records[0]["compressed"].get("notes", {})
        score = one.given.get("scores", "rs+ds")
        if one.name == "adq" and "importance" in notes and score in _SCORES:
            if "alpha" not in one.given:
                found[place, kind].setdefault(score, one)
        elif one.name == "dq" and len(one.records[0]["compressed"].get("bin_counts", ())) > 1:
            draws[place].append(one)
    for (place, kind), scores in found.items():
        dataset, fingerprint, percent, of = place
        told = "".join(f", {key}={value}" for key, value in kind)
        title = f"Scores by bin: {dataset}, {percent:g} % of {of}{told}"
        estimates = {score: _by_bin(scores[score], "importance") for score in scores}
        is_constant = _is_constant(scores)
        n = runs_in_words(value for values in estimates.values() for value in values)
        with style():
            shown = [score for score in _SCORES if score in estimates]
            canvas, [axes] = panels(1, len(shown) + 1, 2.3, 2.6)
            for place_of, score in enumerate(shown):
                _points(axes[place_of], estimates[score], _LOOKS[score])
                axes[place_of].set_title(
                    "importance (IS)" if is_constant else _SCORES[score], loc="left"
                )
                _from_zero(axes[place_of])
            axes[0].set_ylabel("constant" if is_constant else "scaled score, mean")
            drawn = [*draws[place][:1], *([scores["rs+ds"]] if "rs+ds" in scores else [])]
            drawn = drawn or list(scores.values())
            called = labels(drawn)
            methods = looks(called.values())
            for one in drawn:
                name = called[one.method]
                _points(axes[-1], _by_bin(one, "bin_counts"), methods[name], name)
            axes[-1].set_title("images drawn (%)", loc="left")
            _from_zero(axes[-1])
            axes[-1].set_ylim(bottom=0.0)
            for one_axes in axes:
                one_axes.set_xlabel("bin")
            legend(canvas, axes[-1:])
        caption = (
            f"ADQ's Fig. 2 from records: scores of the bins in the order of their generation, and "
            f"the share of the kept images drawn from each. {n.capitalize()} (selections). "
            f"{_CONSTANTS if is_constant else _SCALES + _left_out(shown)}"
            f"Data: {dataset} ({fingerprint})."
        )
        name = ascii_name(f"bins {dataset} {percent:g} {of} {' '.join(v for _, v in kind)}")
        yield Drawing(name, title, caption, canvas)


_SCALES = (
    "RS and DS are scaled to 0 ... 1 over the bins of one selection before the mean is taken; IS "
    "is their sum, 0 ... 2. Intervals of few selections can reach beyond these ranges. "
)
_CONSTANTS = "IS: the constants in the released code, the same for every selection. "


def _is_constant(scores: Mapping[str, Series]) -> bool:
    """Return whether nothing was scored: the importances are those that ADQ released."""
    notes = (record["compressed"]["notes"] for one in scores.values() for record in one.records)
    return all(note.get("importance_of") == "released constants" for note in notes)


def _from_zero(axes: Axes) -> None:
    """Let an axis begin at 0 or below, with room above the highest mark."""
    low, high = axes.get_ylim()
    low = min(0.0, low)
    axes.set_ylim(low, high + _ROOM * (high - low))


def _left_out(shown: Sequence[str]) -> str:
    missing = [f"adq[scores={score}]" for score in _SCORES if score not in shown]
    if not missing:
        return ""
    return f"Without a panel, since no run of it is here: {', '.join(missing)}. "


def _points(axes: Axes, values: Sequence[Estimate], look: Look, label: str = "") -> None:
    line(axes, range(1, len(values) + 1), values, look, label)
    every = max(1, len(values) // 5)
    axes.set_xticks(sorted({1, *range(every, len(values) + 1, every)}))
    grid(axes)


def _by_bin(one: Series, what: str) -> list[Estimate]:
    """Return each bin's mean over the selections; of draws, the percent of all that were kept."""
    selections: dict[int, Sequence[float]] = {}
    for record in one.records:
        kept = record["compressed"]
        if what == "importance":
            values: Iterable[float] = kept["notes"]["importance"]
        else:
            counts = kept["bin_counts"]
            values = [100 * count / max(1, sum(counts)) for count in counts]
        selections.setdefault(record["cell"]["selection_seed"], list(values))
    return [t_interval(column) for column in zip(*selections.values(), strict=True)]
