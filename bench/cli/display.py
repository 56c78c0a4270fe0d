"""What one sees while a run works: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bench.progress import Progress

if TYPE_CHECKING:
    from bench.cells import Cell

_QUIET_S = 30.0
"""Seconds after which a plain display tells that a long stage is still going on."""
_LOOK_S = 5.0
"""Seconds between two looks at what other runs have completed, at least."""
_LOOK_SHARE = 0.01
"""The most that these looks may take of the time."""


def tell(message: str) -> None:
    """Tell a line on standard error."""
    click.echo(message, err=True)


@contextmanager
def display() -> Iterator[Progress]:
    """Give the display that suits where standard error goes to."""
    progress = LiveDisplay() if sys.stderr.isatty() else PlainDisplay()
    try:
        yield progress
    finally:
        progress.end()


class _Counting(Progress):
    """Counts cells by state and estimates the time left from the images trained on so far.

    What other runs in the same folder complete counts too, since they take work off this one.
    """

    def begin(
        self,
        cells: list[Cell],
        done: int,
        work: dict[str, int],
        recorded: Callable[[], Collection[str]],
    ) -> None:
        """Start counting."""
        self.total = len(cells) + done
        self._before = done
        self._work = dict(work)
        self._all_work = max(1, sum(work.values()))
        self._recorded = recorded
        self._complete: set[str] = set()
        self._failed: set[str] = set()
        self._work_over = 0.0
        self._under_way: dict[str, float] = {}
        self._started = time.monotonic()
        self._next_look = self._started + _LOOK_S

    @property
    def done(self) -> int:
        """Cells that are complete, whoever computed them."""
        return self._before + len(self._complete)

    @property
    def failed(self) -> int:
        """Cells that failed here, and that nobody has completed since."""
        return len(self._failed - self._complete)

    def _cell_over(self, cell: Cell, failed: bool = False) -> None:
        self._count({cell.id}, self._failed if failed else self._complete)
        self._look()

    def _told_stage(self, cell: Cell | None, stage: str, done: int, total: int) -> None:
        if cell is not None and stage == "training" and total:
            self._under_way[cell.id] = self._work.get(cell.id, 0) * done / total
        self._look()

    def _look(self) -> None:
        """Count what other runs have completed; seldom, where listing the records takes long."""
        begun = time.monotonic()
        if begun >= self._next_look:
            self._count(self._work.keys() & self._recorded(), self._complete)
            now = time.monotonic()
            self._next_look = now + max(_LOOK_S, (now - begun) / _LOOK_SHARE)

    def _count(self, cells: set[str], state: set[str]) -> None:
        for cell in cells - self._complete - self._failed:
            self._work_over += self._work.get(cell, 0)
            self._under_way.pop(cell, None)
        state |= cells

    @property
    def share_done(self) -> float:
        """Share of the work that is done, in 0 ... 1."""
        done = self._work_over + sum(self._under_way.values())
        return min(1.0, done / self._all_work)

    @property
    def left(self) -> str:
        """Time left, in words."""
        passed, share = time.monotonic() - self._started, self.share_done
        if share < 0.02 or passed < 2:
            return "time left unknown"
        return f"{clock(passed * (1 - share) / share)} left"


class PlainDisplay(_Counting):
    """A line for each cell, and one now and then within a long stage."""

    def __init__(self) -> None:
        self._cell: Cell | None = None
        self._begun: dict[str, float] = {}
        self._last_line = -math.inf  # what is done first is told at once

    def about(self, cell: Cell) -> None:
        """Remember the cell."""
        self._cell = cell

    def cell_started(self, cell: Cell) -> None:
        """Remember the cell and when it began."""
        self._cell = cell
        self._begun[cell.id] = time.monotonic()

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell a long stage's state."""
        self._told_stage(self._cell, stage, done, total)
        if time.monotonic() - self._last_line > _QUIET_S:
            self._line(f"{self._cell and self._cell.label}: {_stage(stage, done, total)}")

    def waiting(self, reason: str) -> None:
        """Tell now and then what is waited for."""
        if time.monotonic() - self._last_line > _QUIET_S:
            self._line(f"waiting for {reason}")

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell the cell's accuracy."""
        self._cell_over(cell)
        passed = time.monotonic() - self._begun[cell.id]
        self._line(_result(cell, record) + f"  ({passed:.1f} s, {self.left})")

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Tell the cause."""
        self._cell_over(cell, failed=True)
        self._line(_cause(cell, failure))

    def cell_elsewhere(self, cell: Cell) -> None:
        """Tell that another run was quicker."""
        self._cell_over(cell)
        self._line(f"{cell.label}: computed by another bench run")

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        width = len(str(self.total))
        click.echo(f"[{self.done + self.failed:{width}}/{self.total}] {text}", err=True)


class LiveDisplay(_Counting):
    """A view that is kept up to date: counts, time left, current cell and stage."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._cell: Cell | None = None
        self._view = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._cells_bar = self._view.add_task("cells", total=1.0, told="")
        self._stage_bar = self._view.add_task("", total=1.0, told="", visible=False)

    def begin(
        self,
        cells: list[Cell],
        done: int,
        work: dict[str, int],
        recorded: Callable[[], Collection[str]],
    ) -> None:
        """Show the view."""
        super().begin(cells, done, work, recorded)
        self._view.start()
        self._update()

    def about(self, cell: Cell) -> None:
        """Show another cell, where several are computed at a time."""
        if cell is not self._cell:
            self.cell_started(cell)

    def cell_started(self, cell: Cell) -> None:
        """Show the cell."""
        self._cell = cell
        self._view.update(self._stage_bar, description=cell.label, told="", visible=True)

    def stage(self, stage: str, done: int, total: int) -> None:
        """Show the stage."""
        self._told_stage(self._cell, stage, done, total)
        self._view.update(
            self._stage_bar,
            completed=done / total if total else 0.0,
            told=_stage(stage, done, total),
        )
        self._update()

    def waiting(self, reason: str) -> None:
        """Show what is waited for."""
        self._view.update(self._stage_bar, told=f"waiting for {reason}")

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Print the cell's accuracy above the view."""
        self._cell_over(cell)
        self._print(_result(cell, record))

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Print the cause above the view."""
        self._cell_over(cell, failed=True)
        self._print(_cause(cell, failure))

    def cell_elsewhere(self, cell: Cell) -> None:
        """Count a cell that another run computed."""
        self._cell_over(cell)
        self._print(f"{cell.label}: computed by another bench run")

    def end(self) -> None:
        """Take the view away."""
        self._view.stop()

    def _print(self, text: str) -> None:
        self._view.console.print(text, markup=False)
        self._update()

    def _update(self) -> None:
        pending = self.total - self.done - self.failed
        failed = f", {self.failed} failed" if self.failed else ""
        told = f"{self.done} done{failed}, {pending} to go, {self.left}"
        self._view.update(self._cells_bar, completed=self.share_done, told=told)


def _result(cell: Cell, record: dict[str, Any]) -> str:
    return f"{cell.label}: {record['metrics']['accuracy']:.2f} %"


def _cause(cell: Cell, failure: dict[str, Any]) -> str:
    first_line = failure["message"].splitlines()[0]
    return f"{cell.label}: FAILED in {failure['phase']}: {failure['type']}: {first_line}"


def _stage(stage: str, done: int, total: int) -> str:
    return f"{stage} {done}/{total}" if total else stage


def clock(seconds: float) -> str:
    """Show a time as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
