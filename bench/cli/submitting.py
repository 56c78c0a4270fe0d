"""What is told of a submission to Slurm, before and after."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import click

from bench.cli.display import tell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.cells import Plan
    from bench.datasets import Source
    from bench.results import Results
    from slurm.dispatch import Prepared
    from slurm.profiles import Profile
    from slurm.requests import Taught
    from slurm.submissions import SubmittedArray


def submit(
    plan: Plan,
    results: Results,
    source: Source,
    profile: str,
    device: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Submit what is pending by the profile of this name, or show what would be."""
    from bench.execution import pending_cells
    from bench.planning import require
    from slurm import commands, profiles

    asked = profiles.read(profile)
    if dry_run:
        show_dry_run(plan, results, source, asked, device, as_json)
        return
    commands.require()
    results.check()  # before weights are fetched
    require(pending_cells(plan, results), results, source, tell)
    show_submitted(plan, results, source, asked, device, as_json)


def show_dry_run(
    plan: Plan, results: Results, source: Source, profile: Profile, device: str, as_json: bool
) -> None:
    """Show the plan, its arrays and the text of each call of sbatch; submit nothing."""
    from reports import tables
    from reports.plans import plan_table
    from slurm import commands, watch
    from slurm.dispatch import prepare

    results.check()
    try:
        live = watch.live_cells(results.folder)
    except commands.ClusterError:  # a dry run tells its plan on any machine
        live = frozenset()
    prepared = prepare(plan, results, source, profile, device=device, left=live)
    texts = prepared.texts()
    if as_json:
        content = _told(prepared) | {"sbatch": texts}
        click.echo(json.dumps(content, indent=1))
        return
    click.echo(tables.as_text(plan_table(prepared.expected)))
    for array, text in zip(prepared.submission.arrays, texts, strict=True):
        click.echo(f"\n{_line(array)}\n{text.rstrip()}")
    if not texts:
        click.echo("Nothing to submit: every cell has a record or a job.")


def show_submitted(
    plan: Plan,
    results: Results,
    source: Source,
    profile: Profile,
    device: str,
    as_json: bool,
    taught: Mapping[str, Taught] | None = None,
    without: frozenset[str] = frozenset(),
) -> None:
    """Submit what has neither a record nor a job; tell the plan, the jobs and how to watch them."""
    from reports import tables
    from reports.plans import plan_table
    from slurm.sweeps import submit_once

    prepared = submit_once(plan, results, source, profile, device, taught, without)
    if prepared is None:
        if as_json:
            click.echo(json.dumps({"submission": None, "cells": 0, "arrays": []}, indent=1))
        else:
            click.echo("Nothing to submit: every cell has a record or a job.")
    elif as_json:
        click.echo(json.dumps(_told(prepared), indent=1))
    else:
        submission = prepared.submission
        click.echo(tables.as_text(plan_table(prepared.expected)) + "\n")
        click.echo(
            f"{plan.cells[0].dataset.spec}: {len(submission.cells)} of {len(plan.cells)} cells "
            f"submitted as {submission.id}"
        )
        for array in submission.arrays:
            click.echo(f"  {_line(array)}")
    if not as_json:
        click.echo(f"Watch: bench status --watch{where(results.folder)}")


def _told(prepared: Prepared) -> dict[str, Any]:
    submission = prepared.submission
    return {
        "submission": submission.id,
        "plan": submission.plan,
        "cells": len(submission.cells),
        "arrays": [
            {
                "job": array.job,
                "name": array.name,
                "stage": array.stage,
                "tasks": len(array.tasks),
                "cells": sum(len(task.cells) for task in array.tasks),
                "minutes": array.minutes,
                "memory_gb": array.memory_gb,
                "gpus": array.gpus,
                "cpus": array.cpus,
            }
            for array in submission.arrays
        ],
    }


def _line(array: SubmittedArray) -> str:
    cells = sum(len(task.cells) for task in array.tasks)
    work = f"{cells} cells" if array.stage == "cells" else f"artefacts of {cells} cells"
    job = f"job {array.job}" if array.job else array.name
    gpus = f", {array.gpus} GPUs" if array.gpus else ""
    return (
        f"{job}: {work} in {len(array.tasks)} tasks, each {array.minutes} min, "
        f"{array.cpus} CPUs{gpus}, {array.memory_gb:g} GB"
    )


def where(folder: Path) -> str:
    """Return the option that names a results folder, for a command to be typed."""
    return "" if str(folder) == "results" else f" --results {shlex.quote(str(folder))}"
