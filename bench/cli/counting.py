"""How far a run has come, and how long the rest of it will take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.progress import Ahead, Progress

if TYPE_CHECKING:
    from bench.cells import Cell

_LOOK_S = 5.0
"""Seconds between two looks at what other runs have completed, at least."""
_LOOK_SHARE = 0.01
"""The most that these looks may take of the time."""
_LEAST_SHARE, _LEAST_S = 0.02, 2.0
"""What of the work, and of the time, has to be over before the rest is estimated."""


class Counting(Progress):
    """Counts cells by state and estimates the time left from the images trained on so far.

    What other runs in the same folder complete counts too, since they take work off this one.
    Time before the first cell, and time in which nothing but artefacts that cells share is made,
    tell nothing of the cells to come: they are left out, and so are artefacts still to be made.
    """

    def __init__(self) -> None:
        self._cell: Cell | None = None
        self._attended: set[str] = set()
        self._on_shared: set[str] = set()

    def begin(self, ahead: Ahead) -> None:
        """Start counting."""
        self.total = len(ahead.work) + ahead.done
        self._ahead = ahead
        self._all_work = max(1, sum(ahead.work.values()))
        self._complete: set[str] = set()
        self._failed: set[str] = set()
        self._work_over = 0.0
        self._under_way: dict[str, float] = {}
        self._last: float | None = None
        self._own_s = self._shared_s = 0.0
        self._next_look = time.monotonic() + _LOOK_S

    @property
    def done(self) -> int:
        """Cells that are complete, whoever computed them."""
        return self._ahead.done + len(self._complete)

    @property
    def failed(self) -> int:
        """Cells that failed here, and that nobody has completed since."""
        return len(self._failed - self._complete)

    def about(self, cell: Cell) -> None:
        """Remember the cell."""
        self._cell = cell

    def cell_started(self, cell: Cell) -> None:
        """Remember that the cell is attended to."""
        self._pass_time()
        self._cell = cell
        self._attended.add(cell.id)
        self._last = time.monotonic()

    def shared_begins(self) -> None:
        """Leave the time out from now on, unless another cell's own work goes on."""
        self._pass_time()
        if self._cell is not None:
            self._on_shared.add(self._cell.id)

    def shared_ends(self) -> None:
        """Count the time again."""
        self._pass_time()
        if self._cell is not None:
            self._on_shared.discard(self._cell.id)

    def cell_postponed(self, cell: Cell) -> None:
        """Forget the cell until it is started again."""
        self._leave(cell)

    def stage(self, stage: str, done: int, total: int) -> None:
        """Count the work of a cell that is being trained."""
        cell = self._cell
        if cell is not None and stage == "training" and total:
            self._under_way[cell.id] = self._ahead.work.get(cell.id, 0) * done / total
        self._look()

    def _over(self, cell: Cell, failed: bool = False) -> None:
        self._leave(cell)
        self._count({cell.id}, self._failed if failed else self._complete)
        self._look()

    def _leave(self, cell: Cell) -> None:
        self._pass_time()
        self._attended.discard(cell.id)
        self._on_shared.discard(cell.id)

    def _pass_time(self) -> None:
        """Add the time since the last event to the cells' own, or to that for what they share."""
        if self._last is None:
            return
        now = time.monotonic()
        if self._attended and self._attended <= self._on_shared:
            self._shared_s += now - self._last
        else:
            self._own_s += now - self._last
        self._last = now

    def _look(self) -> None:
        """Count what other runs have completed; seldom, where listing the records takes long."""
        begun = time.monotonic()
        if begun >= self._next_look:
            self._count(self._ahead.work.keys() & self._ahead.recorded(), self._complete)
            now = time.monotonic()
            self._next_look = now + max(_LOOK_S, (now - begun) / _LOOK_SHARE)

    def _count(self, cells: set[str], state: set[str]) -> None:
        for cell in cells - self._complete - self._failed:
            self._work_over += self._ahead.work.get(cell, 0)
            self._under_way.pop(cell, None)
        state |= cells

    @property
    def share_done(self) -> float:
        """Share of the work that is done, in 0 ... 1."""
        done = self._work_over + sum(self._under_way.values())
        return min(1.0, done / self._all_work)

    @property
    def left(self) -> str:
        """Time left, in words; where artefacts may still come, that of cells' training alone."""
        self._pass_time()
        share = self.share_done
        if share < _LEAST_SHARE or self._own_s < _LEAST_S:
            return "time left unknown"
        of = "of training " if self._shared_s >= 1 and self._may_miss_one else ""
        return f"{clock(self._own_s * (1 - share) / share)} {of}left"

    @property
    def _may_miss_one(self) -> bool:
        """Whether an artefact may still have to be made: for a cell to come, or right now."""
        to_come = self._ahead.work.keys() - self._attended - self._complete - self._failed
        return bool(to_come or self._on_shared)


def clock(seconds: float) -> str:
    """Show a time as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
