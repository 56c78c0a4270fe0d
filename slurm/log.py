"""What a job writes to its log: a line for each cell, and where it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.progress import Progress

if TYPE_CHECKING:
    from bench.cells import Cell

_QUIET_S = 60.0


class Log(Progress):
    """Tells cells as they end, and now and then the stage of a long one."""

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._begun: Cell | None = None
        """A cell that may still be left for later: it is told once it is not."""

    def cell_started(self, cell: Cell) -> None:
        """Tell the cell, with the first that becomes of it."""
        self._begin()
        self._begun = cell

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell a long stage's state."""
        self._begin()
        self._seldom(f"    {stage} {done}/{total}" if total else f"    {stage}")

    def waiting(self, reason: str) -> None:
        """Tell now and then what is waited for."""
        self._begin()
        self._seldom(f"    waiting for {reason}")

    def cell_postponed(self, cell: Cell) -> None:
        """Tell that a cell is left for later, in one line: many may miss one artefact."""
        if self._begun == cell:
            self._begun = None
        self._line(f"{_name(cell)}: left for later, another worker makes an artefact that it needs")

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell a cell's accuracy."""
        self._begin()
        self._line(f"    done: {record['metrics']['accuracy']:.2f} %")

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Tell why a cell failed."""
        self._begin()
        self._line(f"    FAILED: {failure['type']}: {failure['message']}")

    def _begin(self) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            self._line(_name(begun))

    def _seldom(self, text: str) -> None:
        if time.monotonic() - self._told > _QUIET_S:
            self._line(text)

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        print(text, flush=True)


def _name(cell: Cell) -> str:
    return f"{cell.id} {cell.label}"
