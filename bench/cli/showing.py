"""What is shown once cells are computed: their tables, and where the report lies."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import click

from bench.cli.display import tell
from bench.cli.submitting import where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cells import Cell
    from bench.results import Results


def show_results(
    results: Results, cells: Sequence[Cell], failed: int, as_json: bool = False
) -> None:
    """Show the tables of these cells, and write the report of all that the folder holds.

    Parameters
    ----------
    failed : int
        The cells that failed just now.

    Raises
    ------
    StorageError
        When the report cannot be written; its tables are shown nevertheless.
    """
    from reports import summary, tables
    from reports.report import write_report
    from reports.summary import all_tables

    ids = {cell.id for cell in cells}
    records, failures = list(results.records()), list(results.failures())
    here = summary.Collection.of(
        (r for r in records if r["id"] in ids), (f for f in failures if f["id"] in ids)
    )
    shown = all_tables(here)
    path = None
    try:
        path = str(write_report(results.folder, records, failures, ("md",))[0])
    finally:
        if as_json:
            content = {"tables": [tables.as_json(t) for t in shown], "report": path}
            click.echo(json.dumps(content, indent=1))
        else:
            for table in shown:
                click.echo("\n" + tables.as_text(table))
    if not as_json:
        tell(f"\nReport: {path}")
        asked = shlex.quote(f"{cells[-1].method.spec}:{cells[-1].budget.label}")
        tell(f"A number's origin: bench why {asked}{where(results.folder)}")
    if failed:
        tell(f"Failed cells: {failed}. The same command computes them again.")
