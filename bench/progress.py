"""What a run tells while it works; this one says nothing, the command's displays do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bench.cells import Cell


class Progress:
    """Receives the events of a run; a display overrides what it wants to show."""

    def begin(
        self,
        cells: list[Cell],
        done: int,
        work: dict[str, int],
        recorded: Callable[[], Collection[str]],
    ) -> None:
        """Tell the cells still to be computed, how many are done, and each one's images.

        ``recorded`` returns the ids of all cells that have a record by now: other runs in the
        same folder compute some of these cells.
        """

    def about(self, cell: Cell) -> None:
        """Tell which of several cells the next stage belongs to."""

    def cell_started(self, cell: Cell) -> None:
        """Tell that a cell begins."""

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell how far the cell's current stage has come; a total of 0 means unknown."""

    def waiting(self, reason: str) -> None:
        """Tell which other process's work is being waited for."""

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell a cell's new record."""

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Tell why a cell failed; the others go on."""

    def cell_elsewhere(self, cell: Cell) -> None:
        """Tell that another run has computed a cell."""

    def end(self) -> None:
        """Tell that nothing more will come."""
