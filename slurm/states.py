"""The states of cells that were planned or submitted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What is known of a cell."""

    DONE = "done"
    RUNNING = "running"
    PENDING = "pending"
    FAILED = "failed"
    BLOCKED = "blocked"
    LOST = "lost"
    """Submitted, and gone from Slurm without a record or a failure."""
    UNKNOWN = "unknown"
    """Submitted, while Slurm does not tell of jobs."""
    OPEN = "not submitted"


@dataclass(frozen=True)
class Seen:
    """One cell's state, and where or why."""

    state: State
    told: str = ""
