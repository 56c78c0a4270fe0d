"""``bench merge`` and ``bench export``: results of several machines, and for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import stopping
from bench.cli.codes import SOME_FAILED
from bench.cli.options import debug_option, json_option, results_option
from bench.cli.submitting import where
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.merging import Merged

_SHOWN = 20
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument(
    "folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--into",
    required=True,
    type=click.Path(path_type=Path),
    help="Results folder that gets everything; made when it is not there.",
)
@json_option
@debug_option
@click.pass_context
@stopping.resumes
def merge(
    context: click.Context, folders: tuple[Path, ...], into: Path, as_json: bool
) -> None:  # fmt: skip
    """Join results folders, e.g. of several machines: bench merge A B --into C.

    A and B stay as they are. Where two folders have other numbers for one cell, none is taken:
    all are kept in C/conflicts, and the cell counts as not computed. Exit code: 0 joined, 1 there
    are conflicts or damaged files, 2 wrong use.
    """
    from dataclasses import asdict

    from bench.merging import merge as join

    done = join(folders, into, _warn)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    else:
        for line in _told(done, into):
            click.echo(line)
    if done.conflicts or done.damaged:
        context.exit(SOME_FAILED)


def _told(done: Merged, into: Path) -> Iterator[str]:
    yield (
        f"{into}: took {done.records} records, {done.failures} failures, {done.plans} plans and "
        f"{done.artefacts} artefacts; duplicates (same numbers): {done.duplicates}"
    )
    if done.other_artefacts:
        yield (
            f"{len(done.other_artefacts)} artefacts have other bytes in another folder (another "
            "machine made them); those of the folder named first are kept"
        )
    for conflict in done.conflicts[:_SHOWN]:
        yield f"conflict: {conflict.id}: {'; '.join(one.words for one in conflict.versions)}"
    if len(done.conflicts) > _SHOWN:
        yield f"... and {len(done.conflicts) - _SHOWN} more conflicts (all of them: --json)"
    if done.conflicts:
        yield (
            f"Cells in conflict: {len(done.conflicts)}; they are not in the results. Compute them "
            f"anew with bench run{where(into)}, or copy the record that you trust from "
            f"{into}/conflicts/CELL/ to {into}/records/CELL.json"
        )


@click.command()
@results_option
@click.option("--parquet", type=_FILE, help="Parquet file to write; needs pyarrow.")
@click.option("--csv", type=_FILE, help="CSV file to write.")
@debug_option
def export(results: Path, parquet: Path | None, csv: Path | None) -> None:
    """Write all records as one tidy table, a row a cell: bench export --parquet cells.parquet.

    Accuracies and shares are in percent, times in seconds.
    """
    from bench.results import Results, load
    from bench.storage import replacing

    if parquet is None and csv is None:
        raise UsageError("no file is named. Give --parquet FILE or --csv FILE")
    if parquet is not None and find_spec("pyarrow") is None:
        raise UsageError(
            "--parquet needs pyarrow, which is not installed. Install the extra: "
            "pip install 'dataset-compression-bench[parquet]'; or give --csv FILE"
        )
    Results(results).require()
    table = load(results, warn=_warn)
    if table.empty:
        raise UsageError(f"{results} has no records to export. Run bench run first")
    if parquet is not None:
        with replacing(parquet) as temporary:
            table.to_parquet(temporary, engine="pyarrow", index=False)
    if csv is not None:
        with replacing(csv) as temporary:
            table.to_csv(temporary, index=False)
    for path in (parquet, csv):
        if path is not None:
            click.echo(f"{path}: {len(table)} cells")


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)
