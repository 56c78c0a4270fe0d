"""``bench status``, ``cancel`` and ``clean``: a sweep that was left to a cluster."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import (
    debug_option,
    json_option,
    results_option,
)
from bench.cli.submitting import where

if TYPE_CHECKING:
    from bench.results import Results
    from slurm.sacct import Accounted
    from slurm.submissions import Submission
    from slurm.watch import Status

_EVERY_S = 10
_GOING = ("running", "pending")


@click.command()
@results_option
@click.option("--watch", is_flag=True, help="Show it again and again until no job is left.")
@click.option("--costs", is_flag=True, help="Add the time asked for, allocated and used.")
@json_option
@debug_option
def status(results: Path, watch: bool, costs: bool, as_json: bool) -> None:
    """Show the cells by state: done, running, pending, failed, blocked, lost, unknown."""
    while True:
        seen, told = _status(results, costs)
        if watch and not as_json:
            click.clear()
        click.echo(json.dumps(told, indent=1) if as_json else _in_words(results, seen, told))
        if not watch or not any(state in seen.counts() for state in (*_GOING, "unknown")):
            return
        time.sleep(_EVERY_S)


def _status(folder: Path, costs: bool) -> tuple[Status, dict[str, Any]]:
    """Return the status and all that is told of it."""
    from slurm import commands, submissions
    from slurm.accounting import runs_of
    from slurm.watch import status as status_of

    results = opened(folder)
    submitted = submissions.read_all(folder)
    error, runs = "", None
    try:
        runs = runs_of(submitted)
    except commands.ClusterError as told_error:
        error = str(told_error)
    seen = status_of(folder, runs or ())
    told = seen.to_json() | {"submissions": [one.id for one in submitted]}
    if runs:
        told["job_s"] = sum(run.seconds for run in runs)
        told["gpu_s"] = sum(run.seconds * run.gpus for run in runs)
    if error:
        told["account_error"] = error
    elif costs:
        told["accounts"] = _accounts(results, submitted, runs)
    return seen, told


def _accounts(
    results: Results, submitted: list[Submission], runs: list[Accounted] | None
) -> list[dict[str, Any]] | None:
    from slurm.accounting import keep_accounts

    if runs is None:
        return None
    return [account.to_json() for account in keep_accounts(results, submitted, runs)]


def renew_accounts(folder: Path) -> None:
    """Keep what Slurm's accounting tells of a folder's jobs, where it can be asked."""
    from bench.results import Results
    from slurm import commands, submissions
    from slurm.accounting import keep_accounts, runs_of

    submitted = submissions.read_all(folder)
    try:
        runs = runs_of(submitted)
    except commands.ClusterError:
        return
    if runs:
        keep_accounts(Results(folder), submitted, runs)


def _in_words(folder: Path, seen: Status, told: dict[str, Any]) -> str:
    from reports.durations import duration
    from slurm.states import State

    counts = seen.counts()
    is_of_here = not told["submissions"]
    open_cells = counts.get(State.OPEN.value, 0)
    names = {State.OPEN.value: "to compute"} if is_of_here else {}
    states = ", ".join(f"{count} {names.get(state, state)}" for state, count in counts.items())
    lines = [f"{len(seen.cells)} cells: {states or 'none planned'}"]
    for state, reasons in seen.reasons().items():
        lines.append(f"  {state}: " + ", ".join(f"{count} {why}" for why, count in reasons.items()))
    lines += [f"  A plan is left out: {why}" for why in seen.unread]
    if seen.queue_error:
        lines.append(f"  Slurm does not tell of jobs: {seen.queue_error}")
    if any(state in counts for state in _GOING) and not is_of_here:
        left = "not known yet" if seen.left_s is None else f"{duration(seen.left_s)} of jobs"
        lines.append(f"Left: {left}{_gpu_hours(seen.left_gpu_s)}")
    if "account_error" in told:
        lines.append(f"  Slurm's accounting does not answer: {told['account_error']}")
    if "job_s" in told:
        lines.append(f"Used: {duration(told['job_s'])} of jobs{_gpu_hours(told['gpu_s'])}")
    for account in told.get("accounts") or []:
        asked, given, used, wasted = (
            duration(account[f"{name}_s"]) for name in ("asked", "allocated", "used", "wasted")
        )
        lines.append(
            f"  job {account['job']} ({account['device']} time): asked {asked}, "
            f"allocated {given}, used {used}, wasted {wasted}"
        )
    if "accounts" in told and told["accounts"] is None:
        lines.append("  This cluster keeps no accounts; the records tell the time that was used.")
    if any(state in counts for state in ("failed", "blocked", "lost")):
        lines.append(f"Once more: bench retry{where(folder)} (--slurm PROFILE for the cluster)")
    elif is_of_here and open_cells and State.RUNNING.value not in counts:
        lines.append(f"Go on: the same bench run, or bench retry{where(folder)}")
    return "\n".join(lines)


def _gpu_hours(seconds: float | None) -> str:
    return f", {seconds / 3600:.2f} GPU-hours" if seconds else ""


@click.command()
@results_option
@debug_option
def cancel(results: Path) -> None:
    """Cancel all jobs of this results folder; what is complete stays."""
    from slurm import commands, submissions, watch
    from slurm.turns import alone

    with alone(opened(results)):
        queued = watch.live_jobs(submissions.read_all(results))
        live = [job for job in queued if not job.is_over]
        jobs = sorted({job.job for job in live})
        commands.cancel(jobs)
    click.echo(f"{len(jobs)} jobs cancelled ({len(live)} tasks). Complete cells are kept.")


@click.command()
@results_option
@debug_option
def clean(results: Path) -> None:
    """Remove logs of what is complete and files of jobs that are gone; failed cells' logs stay."""
    from slurm.cleaning import clean as clean_folder

    opened(results)
    click.echo(f"{clean_folder(results)} files removed.")


def opened(folder: Path) -> Results:
    """Return a results folder that is there; damaged files are told. Raise a UsageError else."""
    from bench.results import Results

    results = Results(folder, warn=lambda message: click.echo(f"warning: {message}", err=True))
    results.require()
    return results
