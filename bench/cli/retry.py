"""``bench retry``: what is missing or failed of a folder's plans, here or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import stopping
from bench.cli.cluster import opened
from bench.cli.codes import SOME_FAILED, WRONG_USE
from bench.cli.computing import check_here
from bench.cli.display import display, tell
from bench.cli.options import (
    debug_option,
    gpus_per_cell_option,
    pack_option,
    refuse_together,
    results_option,
    slurm_option,
    threads_option,
)
from bench.cli.showing import show_results
from bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from bench.cells import Cell, Plan
    from bench.datasets import Source
    from bench.results import Results
    from slurm.profiles import Profile
    from slurm.requests import Ask


@dataclass(frozen=True)
class Again:
    """A plan, its cells without a record, and where its images are and what computes them."""

    plan: Plan
    pending: list[Cell]
    source: Source
    device: str

    @property
    def told(self) -> str:
        """The plan in words."""
        dataset, count = self.plan.cells[0].dataset.spec, len(self.pending)
        return f"plan {self.plan.id} ({dataset}, {count} cells to compute)"


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

    Here it ends as bench run does: the tables of what was computed are shown and the report is
    written anew. With --slurm, memory is doubled for cells that ran out of it, and time for those
    that reached their limit. How cells are computed here is not remembered: give the same
    --threads, --pack and --gpus-per-cell as the run had. A plan that cannot be computed is told and
    left, and the exit code is 1; where no plan can be, it is 2.
    """
    from bench.execution import check_device_name

    refuse_together(slurm, threads, pack, gpus_per_cell)
    check_device_name(device or "auto")
    running = {"threads": threads, "pack": pack, "gpus_per_cell": gpus_per_cell}
    folder = opened(results)
    profile = None if slurm is None else _profile(slurm)
    plans = [_as_before(folder, plan, data, device) for plan in _plans(folder)]
    accepted, is_left = _accepted(folder, plans, data, None if slurm else gpus_per_cell)
    if profile is None and any(again.pending for again in accepted):
        folder.prepare()
    begun: list[Again] = []
    failed = 0
    for again in accepted:
        try:
            if profile is None:
                failed += _run_again(again, folder, running)
            else:
                _resubmit(again, folder, str(slurm), profile, attempts)
            begun += [again] * bool(again.pending)
        except UsageError as error:  # images that are broken perhaps
            tell(f"{again.told} is left: {error}")
            is_left = True
    if is_left and not begun:
        context.exit(WRONG_USE)
    if profile is None:
        cells = [cell for again in begun or accepted for cell in again.plan.cells]
        show_results(folder, cells, failed)
    context.exit(SOME_FAILED if failed or is_left else 0)


def _profile(name: str) -> Profile:
    from slurm import commands, profiles

    commands.require()
    return profiles.read(name)


def _plans(results: Results) -> list[Plan]:
    from bench.cells import Plan

    found = []
    paths = sorted((results.folder / "plans").glob("*.json"))
    if not paths:
        raise UsageError(f"{results.folder} has no plan. Run a sweep first: bench run")
    for path in paths:
        try:
            found.append(Plan.read(path))
        except BenchError as error:
            click.echo(f"warning: {path.name} is left out: {error}", err=True)
    if not found:
        raise UsageError(
            f"no plan of {results.folder} can be read, for the reasons above. Install what they "
            "miss, a method's package perhaps, or plan anew: bench run"
        )
    return found


def _as_before(results: Results, plan: Plan, data: Path | None, device: str | None) -> Again:
    from bench.datasets import Source
    from bench.execution import pending_cells
    from slurm import submissions

    pending = pending_cells(plan, results)
    before = [one for one in submissions.read_all(results.folder) if one.plan == plan.id]
    if not before:
        return Again(plan, pending, Source(data), device or "auto")
    newest = before[-1]
    source = newest.source if data is None else replace(newest.source, path=data)
    return Again(plan, pending, source, device or newest.device)


def _accepted(
    results: Results, plans: list[Again], data: Path | None, processes: int | None
) -> tuple[list[Again], bool]:
    """Return the plans to go on with, and whether one is left that is not of other data.

    All are looked at before one of them begins, and those that are left are told. ``--data`` is
    for the plans whose images it has.

    Parameters
    ----------
    processes : int, optional
        Those that train a cell here; None on a cluster.

    Raises
    ------
    UsageError
        When no plan has anything that can be computed.
    """
    from bench.execution import check_data
    from bench.planning import require

    accepted: list[Again] = []
    left: list[tuple[Again, UsageError, bool]] = []
    for again in plans:
        is_of_other_data = data is not None
        try:
            check_data(again.pending, again.source)
            is_of_other_data = False
            if processes is not None and again.pending:
                check_here(again.pending, again.source, again.device, processes)
            require(again.pending, results, again.source, tell)
        except UsageError as error:
            left.append((again, error, is_of_other_data))
        else:
            accepted.append(again)
    if left and not any(again.pending for again in accepted):
        own = [reason for _, reason, is_of_other_data in left if not is_of_other_data]
        raise own[0] if own else left[0][1]
    for again, reason, is_of_other_data in left:
        why = f"--data {data} is not its data: {reason}" if is_of_other_data else str(reason)
        tell(f"{again.told} is left: {why}")
    return accepted, not all(is_of_other_data for *_, is_of_other_data in left)


def _resubmit(again: Again, results: Results, name: str, profile: Profile, attempts: int) -> None:
    from bench.cli.submitting import show_submitted
    from slurm import submissions
    from slurm.retrying import lessons

    plan = again.plan
    if not again.pending:
        click.echo(f"Nothing to submit: all {len(plan.cells)} cells of {plan.id} have a record.")
        return
    pending = [cell.id for cell in again.pending]
    learnt = lessons(pending, results, submissions.read_all(results.folder), attempts)
    if learnt.exhausted:
        tell(
            f"{len(learnt.exhausted)} cells have been submitted {attempts} times and are left. "
            "See: bench status; to go on: bench retry --attempts N"
        )
    most = learnt.most()
    _warn_of_limits("cells", most.cell, profile, name)
    _warn_of_limits("artefacts' jobs", most.making, profile.of("artefacts"), name)
    show_submitted(
        plan, results, again.source, profile, again.device, False,
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


def _run_again(again: Again, results: Results, running: dict[str, Any]) -> int:
    """Compute a plan's cells here; return how many failed."""
    from bench.execution import execute, resolve_device

    if not again.pending:
        click.echo(f"Nothing to compute: all cells of {again.plan.id} have a record.")
        return 0
    used = resolve_device(again.device)
    with display() as progress:
        outcome = execute(again.plan, results, again.source, used, progress, **running)
    click.echo(f"{len(outcome.computed)} cells computed, {len(outcome.failed)} failed.")
    return len(outcome.failed)
