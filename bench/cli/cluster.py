"""``bench status``, ``cancel``, ``retry`` and ``clean``: a sweep that was left to a cluster."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import stopping
from bench.cli.codes import SOME_FAILED
from bench.cli.display import display, tell
from bench.cli.options import (
    debug_option,
    gpus_per_cell_option,
    json_option,
    pack_option,
    refuse_together,
    results_option,
    slurm_option,
    threads_option,
)
from bench.cli.submitting import where
from bench.errors import BenchError, DataError, UsageError

if TYPE_CHECKING:
    from bench.cells import Plan
    from bench.datasets import Source
    from bench.results import Results
    from slurm.profiles import Profile
    from slurm.requests import Ask
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

    results = _opened(folder)
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

    with alone(_opened(results)):
        queued = watch.live_jobs(submissions.read_all(results))
        live = [job for job in queued if not job.is_over]
        jobs = sorted({job.job for job in live})
        commands.cancel(jobs)
    click.echo(f"{len(jobs)} jobs cancelled ({len(live)} tasks). Complete cells are kept.")


@click.command()
@results_option
@slurm_option
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Where the data set is, if it moved; plans of other data are left.",
)
@click.option("--device", help="auto, cpu, cuda or cuda:N; default: as before.")
@click.option(
    "--attempts",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Submit no cell more often than this.",
)
@threads_option
@pack_option
@gpus_per_cell_option
@debug_option
@click.pass_context
@stopping.resumes
def retry(
    context: click.Context,
    /,
    results: Path,
    slurm: str | None,
    data: Path | None,
    device: str | None,
    attempts: int,
    threads: int | None,
    pack: int | None,
    gpus_per_cell: int,
) -> None:
    """Compute again what is missing or failed, here or on the cluster.

    With --slurm, memory is doubled for cells that ran out of it, and time for those that reached
    their limit. How cells are computed here is not remembered: give the same --threads, --pack and
    --gpus-per-cell as the run had.
    """
    refuse_together(slurm, threads, pack, gpus_per_cell)
    running = {"threads": threads, "pack": pack, "gpus_per_cell": gpus_per_cell}
    folder = _opened(results)
    failed = False
    for plan, source, used in _accepted(folder, _plans(folder), data, device):
        if slurm is not None:
            _resubmit(plan, folder, source, slurm, used, attempts)
        else:
            failed |= _run_again(plan, folder, source, used, running)
    context.exit(SOME_FAILED if failed else 0)


def _plans(results: Results) -> list[Plan]:
    from bench.cells import Plan

    found = []
    for path in sorted((results.folder / "plans").glob("*.json")):
        try:
            found.append(Plan.read(path))
        except BenchError as error:
            click.echo(f"warning: {path.name} is left out: {error}", err=True)
    if not found:
        raise UsageError(f"{results.folder} has no plan. Run a sweep first: bench run")
    return found


def _accepted(
    results: Results, plans: list[Plan], data: Path | None, device: str | None
) -> list[tuple[Plan, Source, str]]:
    """Return the plans to go on with, each with its source and device, before any of them begins.

    ``--data`` is for the plans whose images it has: the others are left, and that is told.
    """
    from bench.execution import check_data, pending_cells
    from bench.planning import require

    accepted, others, pending_here = [], [], False
    for plan in plans:
        source, used = _as_before(results, plan, data, device)
        pending = pending_cells(plan, results)
        try:
            check_data(pending, source)
        except DataError as error:
            others.append((plan, len(pending), error))
            continue
        require(pending, results, source, tell)
        accepted.append((plan, source, used))
        pending_here |= bool(pending)
    if others and (data is None or not pending_here):
        raise others[0][2]
    for plan, count, reason in others:
        click.echo(
            f"plan {plan.id} ({plan.cells[0].dataset.spec}, {count} cells to compute) is left, "
            f"--data {data} is not its data: {reason}",
            err=True,
        )
    return accepted


def _as_before(
    results: Results, plan: Plan, data: Path | None, device: str | None
) -> tuple[Source, str]:
    from bench.datasets import Source
    from slurm import submissions

    before = [one for one in submissions.read_all(results.folder) if one.plan == plan.id]
    if not before:
        return Source(data), device or "auto"
    newest = before[-1]
    source = newest.source if data is None else replace(newest.source, path=data)
    return source, device or newest.device


def _resubmit(
    plan: Plan, results: Results, source: Source, profile: str, device: str, attempts: int
) -> None:
    from bench.cli.submitting import show_submitted
    from bench.execution import pending_cells
    from slurm import profiles, submissions
    from slurm.retrying import lessons

    cells = pending_cells(plan, results)
    if not cells:
        click.echo(f"Nothing to submit: all {len(plan.cells)} cells of {plan.id} have a record.")
        return
    pending = [cell.id for cell in cells]
    learnt = lessons(pending, results, submissions.read_all(results.folder), attempts)
    if learnt.exhausted:
        click.echo(
            f"{len(learnt.exhausted)} cells have been submitted {attempts} times and are left. "
            "See: bench status; to go on: bench retry --attempts N",
            err=True,
        )
    asked = profiles.read(profile)
    most = learnt.most()
    _warn_of_limits("cells", most.cell, asked, profile)
    _warn_of_limits("artefacts' jobs", most.making, asked.of("artefacts"), profile)
    show_submitted(
        plan, results, source, asked, device, False,
        taught=learnt.taught, without=learnt.exhausted,
    )  # fmt: skip


def _warn_of_limits(whose: str, most: Ask, profile: Profile, name: str) -> None:
    """Tell where a retry asks for less than it should."""
    from slurm.limits import most_memory_gb

    if most.minutes > profile.max_minutes:
        click.echo(
            f"warning: some {whose} should get {most.minutes} minutes after a time-out, and "
            f"max_minutes = {profile.max_minutes} is all that profile {name} allows. Raise it",
            err=True,
        )
    if most.memory_gb and most.memory_gb > (allowed := most_memory_gb(profile)):
        click.echo(
            f"warning: some {whose} should get {most.memory_gb:g} GB after they ran out of memory, "
            f"and {allowed:.4g} GB are all that profile {name} or its nodes give. They get these",
            err=True,
        )


def _run_again(
    plan: Plan, results: Results, source: Source, device: str, running: dict[str, Any]
) -> bool:
    from bench.execution import execute, resolve_device

    used = resolve_device(device)
    with display() as progress:
        outcome = execute(plan, results, source, used, progress, **running)
    click.echo(f"{len(outcome.computed)} cells computed, {len(outcome.failed)} failed.")
    return bool(outcome.failed)


@click.command()
@results_option
@debug_option
def clean(results: Path) -> None:
    """Remove logs of what is complete and files of jobs that are gone; failed cells' logs stay."""
    from slurm.cleaning import clean as clean_folder

    _opened(results)
    click.echo(f"{clean_folder(results)} files removed.")


def _opened(folder: Path) -> Results:
    from bench.results import Results

    results = Results(folder, warn=lambda message: click.echo(f"warning: {message}", err=True))
    results.require()
    return results
