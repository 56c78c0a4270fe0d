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

    def cell_started(self, cell: Cell) -> None:
        """Tell the cell."""
        self._line(f"{cell.id} {cell.label}")

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell a long stage's state."""
        self._seldom(f"    {stage} {done}/{total}")

    def waiting(self, reason: str) -> None:
        """Tell now and then what is waited for."""
        self._seldom(f"    waiting for {reason}")

    def cell_postponed(self, cell: Cell) -> None:
        """Tell that a cell is left for later."""
        self._line("    left for later: another worker makes an artefact that it needs")

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell a cell's accuracy."""
        self._line(f"    done: {record['metrics']['accuracy']:.2f} %")

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Tell why a cell failed."""
        self._line(f"    FAILED: {failure['type']}: {failure['message']}")

    def _seldom(self, text: str) -> None:
        if time.monotonic() - self._told > _QUIET_S:
            self._line(text)

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        print(text, flush=True)
