"""The queue: which jobs of ours Slurm still has."""

from __future__ import annotations

import time
from dataclasses import dataclass

from slurm.commands import NAME, ask, seconds_of

_SEPARATOR = "|"
_QUEUE = _SEPARATOR.join(("%A", "%F", "%K", "%T", "%N", "%r", "%M", "%e", "%j"))
COMPLETED = "COMPLETED"
LATE_S = 60.0
"""How long a network file system may take to show a file, as NFS does by default."""
_LIVE = frozenset(
    ("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_FED",
     "REQUEUE_HOLD", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT",
     "RESV_DEL_HOLD")
)  # fmt: skip


@dataclass(frozen=True)
class Queued:
    """One job of ours in Slurm's queue: pending, running, ending, or complete just now."""

    job: str
    """Its array's job number."""
    task: int
    """Its place in the array; 0 for a job of its own."""
    name: str
    state: str
    node: str
    reason: str
    seconds: int
    """How long it has been running."""

    @property
    def is_over(self) -> bool:
        """Whether it has just ended, with all of its cells complete."""
        return self.state == COMPLETED


def queue() -> list[Queued]:
    """Return the jobs of ours that Slurm still has; one call of squeue.

    Those that were completed within the last minute are among them: a network file system may
    show their records later.
    """
    text = ask("squeue", "--me", "--array", "--noheader", "--states=all", f"--format={_QUEUE}")
    found = []
    for line in text.splitlines():
        # Names come last: those of the user's other jobs may hold anything.
        fields = line.strip().split(_SEPARATOR, 8)
        job, array, task, state, node, reason, run_time, end, name = fields
        if not name.startswith(f"{NAME}-"):
            continue
        if state in _LIVE or (state == COMPLETED and _ended_just_now(end)):
            place = int(task) if task.isdigit() else 0
            seconds = seconds_of(run_time)
            found.append(Queued(array or job, place, name, state, node, reason, seconds))
    return found


def _ended_just_now(end: str) -> bool:
    try:
        ended = time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:  # N/A
        return False
    return time.time() - ended < LATE_S
