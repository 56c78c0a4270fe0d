"""``bench run`` and ``bench plan``: the main job, and what it would do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import stopping
from bench.cli.computing import compute, show_plan
from bench.cli.options import (
    SweepOptions,
    debug_option,
    feed_options,
    gpus_per_cell_option,
    json_option,
    merged,
    pack_option,
    refuse_together,
    results_option,
    slurm_option,
    sweep_options,
    threads_option,
)
from bench.cli.showing import show_results
from bench.cli.submitting import submit

if TYPE_CHECKING:
    from bench.cells import Plan
    from bench.results import Results


@click.command()
@sweep_options
@results_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@threads_option
@pack_option
@gpus_per_cell_option
@feed_options
@click.option("--dry-run", is_flag=True, help="Show the plan and run nothing, as bench plan.")
@slurm_option
@json_option
@debug_option
@click.pass_context
@stopping.resumes
def run(
    context: click.Context,
    /,
    results: Path,
    device: str,
    threads: int | None,
    pack: int | None,
    gpus_per_cell: int,
    stream: str,
    workers: int | None,
    dry_run: bool,
    slurm: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Compress, train and test; show the table and write a report.

    SWEEP_FILE is a TOML file with the options that plan has too, results and output left out;
    those on the command line win. What is complete in the results folder is not computed again.
    With --slurm the cells become jobs of a cluster, and the command ends once they are submitted.

    "1:49 of training left" leaves artefacts out: what selections need (a trained extractor,
    embeddings, bins, scores), made when the first cell asks for it and kept for all others. How
    long one takes is not known before it is made.
    """
    from bench.execution import check_device_name

    options = replace(merged(context, given), stream=stream, workers=workers)
    refuse_together(slurm, threads, pack, gpus_per_cell)
    check_device_name(device)  # whether it is there is asked where it computes
    if slurm is not None:
        submit(*_opened(options, results), options.source, slurm, device, dry_run, as_json)
        return
    if dry_run:
        show_plan(*_opened(options, results), options.source, as_json)
        return
    plan, folder = _opened(options, results)
    running = {"threads": threads, "pack": pack, "gpus_per_cell": gpus_per_cell}
    context.exit(_run(options, folder, plan, device, running, as_json))


@click.command()
@sweep_options
@results_option
@json_option
@debug_option
@click.pass_context
def plan(context: click.Context, /, results: Path, as_json: bool, **given: Any) -> None:
    """Show which cells a run has, what is done and what the rest costs; run nothing."""
    options = merged(context, given)
    show_plan(*_opened(options, results), options.source, as_json)


def _opened(options: SweepOptions, folder: Path) -> tuple[Plan, Results]:
    from bench.cells import Plan
    from bench.results import Results

    plan = Plan.of(options.sweep())
    results = Results(folder, warn=lambda message: click.echo(f"warning: {message}", err=True))
    return plan, results


def _run(
    options: SweepOptions,
    results: Results,
    plan: Plan,
    device: str,
    running: dict[str, Any],
    as_json: bool,
) -> int:
    ended = compute(plan, results, options.source, device, **running)
    if ended.is_stopped:
        return ended.code
    show_results(results, plan.cells, ended.failed, as_json)
    return ended.code
