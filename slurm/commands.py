"""Slurm's commands: asked with a time limit, told as errors of one line."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.errors import BenchError, UsageError

NAME = "bench"
"""What the names of our jobs begin with; a submission's id and an array's number follow."""
_TIMEOUT_S = 60
_DISABLED = "accounting storage is disabled"
_DAY_S = 86400.0
"""More than clocks of a cluster differ by."""
_SEPARATOR = "|"
_QUEUE = _SEPARATOR.join(("%A", "%F", "%K", "%T", "%N", "%r", "%M", "%e", "%j"))
_ACCOUNT = (
    "JobID", "JobName", "State", "ElapsedRaw", "AllocTRES", "ReqTRES", "TimelimitRaw", "NodeList",
)  # fmt: skip


class ClusterError(BenchError):
    """Slurm did not do what was asked; its own words are told."""


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


@dataclass(frozen=True)
class Accounted:
    """One run of a job as Slurm's accounting knows it; a requeued job has several."""

    job: str
    task: int
    name: str
    state: str
    seconds: int
    gpus: int
    cpus: int
    asked_gpus: int
    minutes: int
    node: str


def is_here() -> bool:
    """Return whether this machine can submit to a Slurm cluster."""
    return shutil.which("sbatch") is not None


def require() -> None:
    """Raise a UsageError where no Slurm can be submitted to."""
    if not is_here():
        raise UsageError(
            "there is no sbatch on this machine. Submit from a login node of the cluster, or "
            "leave out --slurm to run here"
        )


def ask(*command: str) -> str:
    """Return what a command of Slurm prints.

    Raises
    ------
    ClusterError
        When it is not there, fails or does not answer.
    """
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
            env=os.environ | {"SLURM_TIME_FORMAT": "standard"},
        )  # fmt: skip
    except FileNotFoundError:
        raise ClusterError(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{command[0]} has not answered for {_TIMEOUT_S} s") from None
    if answer.returncode != 0:
        raise ClusterError(f"{command[0]}: {first_line(answer.stderr) or 'it failed'}")
    return answer.stdout


def first_line(text: str) -> str:
    """Return the first line of a text that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


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


COMPLETED = "COMPLETED"
LATE_S = 60.0
"""How long a network file system may take to show a file, as NFS does by default."""
_LIVE = frozenset(
    ("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_FED",
     "REQUEUE_HOLD", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT",
     "RESV_DEL_HOLD")
)  # fmt: skip


def seconds_of(clock: str) -> int:
    """Return the seconds of Slurm's ``days-hours:minutes:seconds``; 0 for what is no time."""
    days, _, rest = clock.rpartition("-")
    try:
        seconds = 0
        for part in rest.split(":"):
            seconds = seconds * 60 + int(part)
        return seconds + 86400 * int(days or 0)
    except ValueError:
        return 0


def accounts(jobs: list[str], names: list[str], since: float) -> list[Accounted] | None:
    """Return all runs of jobs that have begun or ended; None on a cluster without accounting.

    Parameters
    ----------
    jobs, names : list of str
        The jobs' numbers, and the names of others.
    since : float
        When the first of them was submitted, in seconds since 1970. Some versions of sacct look
        no further back than midnight unless told to.

    Raises
    ------
    ClusterError
        When there is accounting and it does not answer.
    """
    asked = {"jobs": jobs, "name": names}
    if not jobs and not names:
        return []
    if shutil.which("sacct") is None:
        return None
    start = time.strftime("%Y-%m-%d", time.localtime(max(0.0, since - _DAY_S)))
    lines = []
    try:
        for option, values in asked.items():
            if values:
                lines += ask(
                    "sacct", "--allocations", "--duplicates", "--noheader", "--parsable2",
                    f"--format={','.join(_ACCOUNT)}", f"--starttime={start}",
                    f"--{option}={','.join(values)}",
                ).splitlines()  # fmt: skip
    except ClusterError as error:
        if _DISABLED in str(error):
            return None
        raise
    runs = (line.split(_SEPARATOR) for line in lines if line)
    return [one for run in runs for one in _accounted(run)]


def _accounted(fields: list[str]) -> Iterator[Accounted]:
    """Yield the runs of a line: one, or those that never began and were cancelled together."""
    identifier, name, state, elapsed, allocated, requested, minutes, node = fields
    job, _, tasks = identifier.partition("_")
    state = state.partition(" ")[0]
    if state == "PENDING":
        return
    given, wanted = _resources(allocated), _resources(requested)
    for task in _numbers(tasks):
        yield Accounted(
            job=job,
            task=task,
            name=name,
            state=state,
            seconds=int(elapsed or 0),
            gpus=given.get("gres/gpu", 0),
            cpus=given.get("cpu", 0),
            asked_gpus=wanted.get("gres/gpu", 0),
            minutes=int(minutes) if minutes.isdigit() else 0,
            node=node,
        )


def _numbers(tasks: str) -> Iterator[int]:
    """Yield the tasks of ``3`` or ``[0-2,7%4]``; 0 for a job of its own."""
    for part in tasks.strip("[]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            yield from range(int(first), int(last or first) + 1)
        else:
            yield 0


def _resources(text: str) -> dict[str, int]:
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name: int(value) for name, _, value in pairs if value.isdigit()}


def cancel(jobs: list[str]) -> None:
    """Cancel jobs, with all that their arrays hold."""
    refused = None
    for start in range(0, len(jobs), 100):
        try:
            ask("scancel", *jobs[start : start + 100])
        except ClusterError as error:  # one that has just ended; the others are to end too
            refused = error
    if refused is not None:
        raise refused


def cancel_named(name: str) -> None:
    """Cancel the jobs of a name, if there are any and Slurm answers."""
    with contextlib.suppress(ClusterError):
        ask("scancel", f"--name={name}")


def settings() -> dict[str, str]:
    """Return the cluster's settings, as scontrol tells them."""
    lines = (line.partition("=") for line in ask("scontrol", "show", "config").splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


def own_job() -> str:
    """Return the number of the job that this process runs in.

    A task of an array goes by its array and place: one task of each array has the array's own
    number, by which Slurm would take all of them.

    Raises
    ------
    KeyError
        Outside of a job.
    """
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]


def requeue() -> str:
    """Ask Slurm to run this very job again; return why it cannot, or an empty text."""
    if shutil.which("scontrol") is None:
        return "there is no scontrol on this node"
    try:
        ask("scontrol", "requeue", own_job())
    except (ClusterError, KeyError) as error:
        return f"the job cannot be requeued ({error})"
    return ""
