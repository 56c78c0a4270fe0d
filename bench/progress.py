"""What a run tells while it works; this one says nothing, the command's displays do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from bench.cells import Cell


@dataclass(frozen=True)
class Ahead:
    """What a run has before it."""

    work: Mapping[str, int]
    """The training images that each cell still to be computed goes through, by its id."""
    done: int
    """Cells that are complete already."""
    recorded: Callable[[], Collection[str]]
    """Returns the ids of all cells with a record by now: other runs in the folder compute too."""


class Progress:
    """Receives the events of a run; a display overrides what it wants to show."""

    def begin(self, ahead: Ahead) -> None:
        """Tell what the run has before it."""

    def about(self, cell: Cell) -> None:
        """Tell which of several cells the next stage belongs to."""

    def cell_started(self, cell: Cell) -> None:
        """Tell that a cell begins."""

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell how far the cell's current stage has come; a total of 0 means unknown."""

    def shared_begins(self) -> None:
        """Tell that what follows is for an artefact which other cells may use too."""

    def shared_ends(self) -> None:
        """Tell that the artefact is there, or was not to be had; the cell's own work goes on."""

    def waiting(self, reason: str) -> None:
        """Tell which other process's work is being waited for."""

    def cell_postponed(self, cell: Cell) -> None:
        """Tell that a cell is left for later: another worker makes an artefact that it needs."""

    def cell_finished(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell a cell's new record."""

    def cell_failed(self, cell: Cell, failure: dict[str, Any]) -> None:
        """Tell why a cell failed; the others go on."""

    def cell_elsewhere(self, cell: Cell) -> None:
        """Tell that another run has computed a cell."""

    def end(self) -> None:
        """Tell that nothing more will come."""
