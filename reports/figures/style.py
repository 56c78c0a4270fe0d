"""The look of all figures, and their files: the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.storage import replacing
from reports.durations import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas
    from matplotlib.text import Text

    from reports.statistics import Estimate

# Okabe and Ito's palette, which colour-blind readers can tell apart, with Tol's wine in place of a
# yellow that is pale on white; shapes tell it in grey.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#882255",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
HATCHES = ("//", "\\\\", "..", "xx", "--", "++", "")
GREY = "0.4"
LEFT_OUT = "Methods with parameters are left out. "
"""What a caption says where :func:`uncrowded` left some out."""
_MOST = 8
_LEGEND = 0.25
"""Inches: what the heights of figures leave for their legends."""
_FIXED = {"random": 6, "dq": 0, "adq": 1, "dm": 2, "graphcut": 3}
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "bench",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a name may hold dollars
}


@dataclass(frozen=True)
class Figure:
    """A drawn figure: what it is called, what it shows, and its files."""

    name: str
    title: str
    caption: str
    path_svg: Path
    path_pdf: Path


@dataclass(frozen=True)
class Drawing:
    """A figure that is not yet in files."""

    name: str
    title: str
    caption: str
    canvas: Canvas

    def saved(self, folder: Path) -> Figure:
        """Write the SVG and the PDF into a folder that is there."""
        paths = {kind: folder / f"{self.name}.{kind}" for kind in ("svg", "pdf")}
        for path in paths.values():
            save(self.canvas, path)
        return Figure(self.name, self.title, self.caption, paths["svg"], paths["pdf"])


@dataclass(frozen=True)
class Look:
    """How a method is drawn, in every figure of a report alike."""

    colour: str
    marker: str
    line: str
    hatch: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return a look for every name; the papers' methods keep theirs, others get what is left."""
    names = list(dict.fromkeys(names))
    taken: dict[str, int] = {}
    for name in names:
        place = _FIXED.get(name.split("[")[0].split(" ")[0])
        if place is not None and place not in taken.values():
            taken[name] = place
    free = [place for place in range(len(COLOURS)) if place not in taken.values()]
    free += list(range(len(COLOURS), len(COLOURS) + len(names)))
    for name in names:
        if name not in taken:
            taken[name] = free.pop(0)
    return {name: _look(taken[name]) for name in names}


def _look(place: int) -> Look:
    turn = place // len(COLOURS)
    return Look(
        COLOURS[place % len(COLOURS)],
        MARKERS[(place + turn) % len(MARKERS)],
        LINES[(place + turn) % len(LINES)],
        HATCHES[(place + turn) % len(HATCHES)],
    )


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house's style within the block, whatever the user's settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def panels(
    rows: int, columns: int, width: float, height: float, **options: Any
) -> tuple[Canvas, list[list[Axes]]]:
    """Return a canvas with a grid of axes, each of a width and a height in inches."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(columns * width, rows * height), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False, **options)
    return canvas, [list(row) for row in grid]


def save(canvas: Canvas, path: Path) -> None:
    """Write a canvas as SVG or PDF, by the path's ending, without a date."""
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else {"CreationDate": None}
    with style(), replacing(path) as temporary:
        if canvas.get_layout_engine() is not None:  # laid out once for both files: it is slow
            canvas.draw_without_rendering()
            canvas.set_layout_engine("none")
        canvas.savefig(temporary, format=kind, metadata=metadata)


def line(
    axes: Axes, x: Sequence[float], values: Sequence[Estimate], look: Look, label: str
) -> None:
    """Draw means with their intervals."""
    axes.errorbar(
        x,
        [value.mean for value in values],
        [value.half_width or 0.0 for value in values],
        label=label,
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        markersize=5,
        linewidth=1.3,
        capsize=3,
    )


def beside(number: int, count: int, width: float) -> float:
    """Return how far the one of a number is moved, so that intervals do not cover one another."""
    return width * (number - (count - 1) / 2)


def legend(canvas: Canvas, axes: Iterable[Axes], most: int = 4) -> None:
    """Put one legend for all axes below them, in as many columns as have room.

    The canvas grows by what a long one takes, so that the axes keep their height.
    """
    found: dict[str, Any] = {}
    for one in axes:
        handles, names = one.get_legend_handles_labels()
        for name, handle in zip(names, handles, strict=True):
            found.setdefault(name, handle)
    for columns in range(min(most, len(found)), 0, -1):
        made = canvas.legend(
            found.values(), found.keys(), loc="outside lower center", ncols=columns
        )
        if columns == 1 or made.get_window_extent().width <= canvas.bbox.width:
            wide, high = canvas.get_size_inches()
            lines = made.get_window_extent().height / canvas.dpi
            canvas.set_size_inches(wide, high + max(0.0, lines - _LEGEND))
            return
        made.remove()


def widest(canvas: Canvas, texts: Iterable[Text]) -> float:
    """Return the inches that the widest of some texts takes."""
    return max((text.get_window_extent().width for text in texts), default=0.0) / canvas.dpi


def uncrowded(names: Iterable[str]) -> list[str]:
    """Return the specs of methods that are drawn together.

    Of more than 8 methods those without parameters are; all of them stand in the differences.
    """
    there = list(dict.fromkeys(names))
    plain = [name for name in there if "[" not in name]
    return plain if len(there) > _MOST and len(plain) > 1 else there


def runs_in_words(estimates: Iterable[Estimate]) -> str:
    """Return what bars and whiskers stand for, with the numbers of runs."""
    counts = sorted({estimate.n for estimate in estimates})
    if counts in ([], [1]):
        return "one run each, no intervals"
    told = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"mean and 95 % interval over {told} runs"


def lighter(colour: str, share: float = 0.45) -> tuple[float, float, float]:
    """Return a colour mixed with white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


_TIMES = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200,
    3600, 7200, 18_000, 36_000, 90_000, 180_000, 540_000, 1_080_000, 3_600_000, 10_800_000,
)  # fmt: skip
"""Seconds."""
_MOST_TIMES = 7


def log_axis(axis: Axis, show: Callable[[float], str], subs: Sequence[float] = (1, 2, 5)) -> None:
    """Mark a logarithmic axis at 1, 2 and 5 times the powers of ten, in plain text."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=list(subs)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axis.set_minor_formatter(NullFormatter())


def time_axis(axes: Axes) -> None:
    """Mark the logarithmic axis of seconds at times that people count in."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    low, high = axes.get_xlim()
    for times in (_TIMES, _TIMES[::2], _TIMES[::4]):
        shown = [time for time in times if low <= time <= high]
        if len(shown) <= _MOST_TIMES:
            break
    if len(shown) < 2:  # all within a factor of two or so: an axis without them tells nothing
        shown = [low * (high / low) ** part for part in (0.2, 0.5, 0.8)]
    axes.set_xlim(low, high)
    axes.set_xticks(shown)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


def grid(axes: Axes, axis: str = "y") -> None:
    """Draw fine lines behind everything."""
    axes.grid(axis=axis, color="0.9", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


Looks = Mapping[str, Look]
