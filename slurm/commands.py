"""Slurm's commands: asked with a time limit, told as errors of one line."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess

from bench.errors import BenchError, UsageError

NAME = "bench"
"""What the names of our jobs begin with; a submission's id and an array's number follow."""
_TIMEOUT_S = 60
_FORMATS = {"SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
"""Times as we read them, and lists of an array's tasks in full: 64 bytes are usual."""


class ClusterError(BenchError):
    """Slurm did not do what was asked; its own words are told."""


class NotSubmittedError(ClusterError, UsageError):
    """Slurm did not take the first job, or did not answer before it: nothing was submitted."""


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
            env=os.environ | _FORMATS,
        )  # fmt: skip
    except FileNotFoundError:
        raise ClusterError(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{command[0]} has not answered for {_TIMEOUT_S} s") from None
    if answer.returncode != 0:
        said = first_line(answer.stderr).removeprefix(f"{command[0]}: ")
        raise ClusterError(f"{command[0]}: {said or 'it failed'}")
    return answer.stdout


def first_line(text: str) -> str:
    """Return the first line of a text that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


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
