"""``bench reproduce``: the shipped sweeps, one for each table and figure of the papers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import stopping
from bench.cli.computing import compute, show_plan
from bench.cli.display import tell
from bench.cli.options import (
    SweepOptions,
    debug_option,
    json_option,
    merged,
    pack_option,
    refuse_together,
    results_option,
    slurm_option,
    sweep_options,
    threads_option,
)
from bench.cli.submitting import submit
from bench.errors import UsageError, unknown

if TYPE_CHECKING:
    from bench.cells import Plan
    from bench.results import Results

SCALES = ("cpu", "paper")
TRAJECTORY = "adq-fig4"
"""The one that no cells make: see :mod:`bench.cli.trajectory`."""


@click.command()
@click.argument("name", required=False)
@click.option(
    "--scale", type=click.Choice(SCALES), default="cpu", show_default=True,
    help="paper: the papers' networks on CIFAR-10, for GPUs. cpu: small networks; the digits, or "
    "your images with --data.",
)  # fmt: skip
@click.option("--dataset", help="Another data set than the sweep's.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder or zip file that holds the data set."
)
@click.option("--download", is_flag=True, help="Fetch the data set when it is missing.")
@click.option("--ratios", help="Other ratios than the sweep's.")
@click.option("--seeds", type=click.IntRange(1), help="Another number of runs.")
@click.option("--models", help="Other networks than the sweep's.")
@click.option("--protocol", help="Another protocol than the sweep's.")
@results_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@threads_option
@pack_option
@click.option("--dry-run", is_flag=True, help="Show the plan and what it costs; run nothing.")
@slurm_option
@json_option
@debug_option
@click.pass_context
@stopping.resumes
def reproduce(
    context: click.Context,
    /,
    name: str | None,
    scale: str,
    results: Path,
    device: str,
    threads: int | None,
    pack: int | None,
    dry_run: bool,
    slurm: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Run the sweep behind a table or a figure of a paper, and show that table or figure.

    Without NAME, list what there is. The plan and its cost are shown first. Sweeps are TOML files
    that bench run takes too; the options here change what a file says.
    """
    from bench.execution import check_device_name

    if name is None:
        _list(as_json)
        return
    if name not in names():
        raise unknown("experiment", name, names(), "bench reproduce tells what each is.")
    check_device_name(device)
    files = sweep_files(name, scale)
    parts = [part_options(file, given) for file in files]
    if name == TRAJECTORY:
        if slurm is not None or pack != 1:
            raise UsageError(
                f"{name} trains outside of cells, here and one after the other. Leave --slurm and "
                "--pack"
            )
        _trajectory(parts[0], results, device, threads, dry_run, as_json)
        return
    if not as_json:
        for file in files:
            click.echo(f"sweep: {file}", err=True)
    refuse_together(slurm, threads, pack, gpus_per_cell=1)
    folder, plan = _plan(parts, results)
    if slurm is not None:
        submit(plan, folder, parts[0].source, slurm, device, dry_run, as_json)
        return
    if dry_run or not as_json:
        show_plan(plan, folder, parts[0].source, as_json)
    if dry_run:
        return
    ended = compute(plan, folder, parts[0].source, device, threads=threads, pack=pack)
    if ended.failed:
        tell(f"Failed cells: {ended.failed}; see bench report.")
    if not ended.is_stopped:
        _present(name, folder, plan, as_json)
    context.exit(ended.code)


def names() -> list[str]:
    """Return what can be reproduced, sorted."""
    return sorted({path.name.split(".")[0] for path in _folder("cpu").glob("*.toml")})


def sweep_files(name: str, scale: str) -> list[Path]:
    """Return the files of a sweep, the main one first."""
    folder = _folder(scale)
    return [folder / f"{name}.toml", *sorted(folder.glob(f"{name}.*.toml"))]


def part_options(file: Path, given: dict[str, Any]) -> SweepOptions:
    """Return a sweep file's options with what was given on the command line, as in bench run.

    Own images are given by ``--data`` alone where the file names no data set.
    """
    arguments = [str(file)]
    for key, value in given.items():
        if value is True:
            arguments.append(f"--{key}")
        elif value not in (None, False):
            arguments += [f"--{key}", str(value)]
    if given.get("data") is not None and given.get("dataset") is None and file.parent.name == "cpu":
        arguments += ["--dataset", "imagefolder"]
    options: SweepOptions = _options.main(arguments, standalone_mode=False)
    return options


@click.command()
@sweep_options
@click.pass_context
def _options(context: click.Context, /, **given: Any) -> SweepOptions:
    return merged(context, given)


def _folder(scale: str) -> Path:
    from reports.reproduction import SWEEPS

    return SWEEPS / scale


def _about(file: Path) -> str:
    """Return a sweep file's first sentence."""
    first = file.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("# ")


def _list(as_json: bool) -> None:
    told = {name: _about(sweep_files(name, "paper")[0]) for name in names()}
    if as_json:
        click.echo(json.dumps(told, indent=1))
        return
    for name, about in told.items():
        click.echo(f"{name}: {about}")


def _plan(parts: list[SweepOptions], folder: Path) -> tuple[Results, Plan]:
    """Return the plan of all parts, seed by seed, so that a full table comes first."""
    from bench.cells import Plan
    from bench.results import Results

    cells = {cell.id: cell for part in parts for cell in part.sweep().cells()}
    plan = Plan(tuple(sorted(cells.values(), key=lambda cell: cell.training_seed)))
    return Results(folder, warn=lambda message: click.echo(f"warning: {message}", err=True)), plan


def _present(name: str, folder: Results, plan: Plan, as_json: bool) -> None:
    """Show and write the table or figure that the plan's records make."""
    ids = {cell.id for cell in plan.cells}
    _written(name, [record for record in folder.records() if record["id"] in ids], folder, as_json)


def _trajectory(
    options: SweepOptions,
    results: Path,
    device: str,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    from bench.cli.trajectory import Study
    from bench.results import Results

    study = Study.of(options)
    if dry_run or not as_json:
        told = study.cost(results)
        click.echo(json.dumps(told, indent=1) if as_json else told["words"])
    if dry_run:
        return
    folder = Results(results, warn=lambda message: click.echo(f"warning: {message}", err=True))
    folder.check()
    study.run(folder, device, threads, lambda message: click.echo(message, err=True))
    _written(TRAJECTORY, [], folder, as_json)


def _written(name: str, records: list[dict[str, Any]], folder: Results, as_json: bool) -> None:
    from reports import tables
    from reports.reproduction import write_experiment

    made = write_experiment(name, records, folder.folder)
    if as_json:
        content = {
            "tables": [tables.as_json(table) for table in made.tables],
            "figures": [str(figure.path_svg) for figure in made.figures],
            "written": str(made.path),
        }
        click.echo(json.dumps(content, indent=1))
        return
    for table in made.tables:
        click.echo("\n" + tables.as_text(table))
    for figure in made.figures:
        click.echo(f"\nFigure: {figure.path_svg} (and .pdf): {figure.title}")
    click.echo(f"\nWritten: {made.path}", err=True)
