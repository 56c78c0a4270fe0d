"""What one sees while a run works: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bench.cli.counting import Counting
from bench.progress import Ahead, Progress

if TYPE_CHECKING:
    from bench.cells import Cell

_QUIET_S = 30.0
"""Seconds after which a plain display tells that a long stage is still going on."""


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


class PlainDisplay(Counting):
    """A line for each cell, and one now and then within a long stage."""

    def __init__(self) -> None:
        super().__init__()
        self._begun: dict[str, float] = {}
        self._last_line = -math.inf  # what is done first is told at once
        self._told: tuple[Cell | None, str] | None = None
        """The cell and the stage that the last line tells, where it tells one."""

    def cell_started(self, cell: Cell) -> None:
        """Remember when the cell began."""
        super().cell_started(cell)
        self._begun[cell.id] = time.monotonic()

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell a long stage's state, and the cell's next one where the last line would be wrong."""
        super().stage(stage, done, total)
        is_over = self._told is not None and self._told[0] is self._cell and self._told[1] != stage
        if is_over or time.monotonic() - self._last_line > _QUIET_S:
            self._line(f"{self._cell and self._cell.label}: {_stage(stage, done, total)}")
            self._told = self._cell, stage

    def waiting(self, reason: str) -> None:
        """Tell now and then what is waited for."""
        if time.monotonic() - self._last_line > _QUIET_S:
            self._line(f"waiting for {reason}")

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell the cell's accuracy."""
        self._over(cell)
        passed = time.monotonic() - self._begun[cell.id]
        self._line(_result(cell, record) + f"  ({passed:.1f} s, {self.left})")

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Tell the cause."""
        self._over(cell, failed=True)
        self._line(_cause(cell, failure))

    def cell_elsewhere(self, cell: Cell) -> None:
        """Tell that another run was quicker."""
        self._over(cell)
        self._line(f"{cell.label}: computed by another bench run")

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._told = None
        width = len(str(self.total))
        click.echo(f"[{self.done + self.failed:{width}}/{self.total}] {text}", err=True)


class LiveDisplay(Counting):
    """A view that is kept up to date: counts, time left, current cell and stage."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        super().__init__()
        self._view = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._cells_bar = self._view.add_task("cells", total=1.0, told="")
        self._stage_bar = self._view.add_task("", total=1.0, told="", visible=False)

    def begin(self, ahead: Ahead) -> None:
        """Show the view."""
        super().begin(ahead)
        self._view.start()
        self._update()

    def about(self, cell: Cell) -> None:
        """Show another cell, where several are computed at a time."""
        if cell is not self._cell:
            self._show(cell)
        super().about(cell)

    def cell_started(self, cell: Cell) -> None:
        """Show the cell."""
        super().cell_started(cell)
        self._show(cell)

    def _show(self, cell: Cell) -> None:
        self._view.update(self._stage_bar, description=cell.label, told="", visible=True)

    def stage(self, stage: str, done: int, total: int) -> None:
        """Show the stage."""
        super().stage(stage, done, total)
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
        self._over(cell)
        self._print(_result(cell, record))

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Print the cause above the view."""
        self._over(cell, failed=True)
        self._print(_cause(cell, failure))

    def cell_elsewhere(self, cell: Cell) -> None:
        """Count a cell that another run computed."""
        self._over(cell)
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
    return f"{cell.label_of(record['compressed'])}: {record['metrics']['accuracy']:.2f} %"


def _cause(cell: Cell, failure: dict[str, Any]) -> str:
    first_line = failure["message"].splitlines()[0]
    return f"{cell.label}: FAILED in {failure['phase']}: {failure['type']}: {first_line}"


def _stage(stage: str, done: int, total: int) -> str:
    return f"{stage} {done}/{total}" if total else stage
