"""What a job writes to its log: a line for each cell, and where it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.progress import Progress

if TYPE_CHECKING:
    from bench.cells import Cell

_QUIET_S = 60.0


class Log(Progress):
    """Tells cells as they end, and now and then the stage of a long one.

    Lines stand below their cell's name. Where several cells are computed at a time, the name comes
    again before a line that is of another one than the line before.
    """

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._cell: Cell | None = None
        """What the next stage belongs to."""
        self._named = ""
        """The id of the cell that the next line is read to be of."""
        self._begun: set[str] = set()
        """Cells that may still be left for later: they are named once they are not."""

    def about(self, cell: Cell) -> None:
        """Remember the cell."""
        self._cell = cell

    def cell_started(self, cell: Cell) -> None:
        """Remember the cell, which is named with the first that becomes of it."""
        self._cell = cell
        self._begun.add(cell.id)

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell a long stage's state."""
        self._begin()
        self._seldom(f"{stage} {done}/{total}" if total else stage)

    def waiting(self, reason: str) -> None:
        """Tell now and then what is waited for."""
        self._begin()
        self._seldom(f"waiting for {reason}")

    def cell_postponed(self, cell: Cell) -> None:
        """Tell that a cell is left for later, in one line: many may miss one artefact."""
        self._begun.discard(cell.id)
        self._cell, self._named = None, ""
        self._line(f"{_name(cell)}: left for later, another worker makes an artefact that it needs")

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell a cell's accuracy."""
        self._over(cell, f"done: {record['metrics']['accuracy']:.2f} %")

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Tell why a cell failed."""
        self._over(cell, f"FAILED: {failure['type']}: {failure['message']}")

    def _begin(self) -> None:
        """Name a cell that is begun in earnest."""
        if self._cell is not None and self._cell.id in self._begun:
            self._name(self._cell)

    def _over(self, cell: Cell, text: str) -> None:
        self._below(cell, text)
        self._cell, self._named = None, ""

    def _seldom(self, text: str) -> None:
        if time.monotonic() - self._told <= _QUIET_S:
            return
        if self._cell is not None:
            self._below(self._cell, text)
        else:
            self._line(text)

    def _below(self, cell: Cell, text: str) -> None:
        """Print a line below the name of its cell."""
        if self._named != cell.id:
            self._name(cell)
        self._line(f"    {text}")

    def _name(self, cell: Cell) -> None:
        self._begun.discard(cell.id)
        self._named = cell.id
        self._line(_name(cell))

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        print(text, flush=True)


def _name(cell: Cell) -> str:
    return f"{cell.id} {cell.label}"
