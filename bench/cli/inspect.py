"""``bench report`` and ``why``: the report anew, and where a number comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bench.cli.cluster import renew_accounts
from bench.cli.codes import SOME_FAILED
from bench.cli.options import debug_option, json_option, results_option
from bench.errors import UsageError, unknown
from bench.identity import IDENTITY_VERSION

_ALSO = {"pdf": "latex", "tex": "latex", "markdown": "md"}
"""What users call a format too."""


@click.command()
@results_option
@click.option(
    "--format", "formats", default="md", show_default=True, metavar="LIST",
    help="Comma list of md, latex, html, csv and json, or all.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Write nothing; fail where a report is stale.")
@click.option("--no-figures", is_flag=True, help="Tables only.")
@click.option(
    "--into", "pages", multiple=True, type=click.Path(dir_okay=False, path_type=Path),
    help="Also a Markdown page with marks for tables and figures of this report.",
)  # fmt: skip
@json_option
@debug_option
@click.pass_context
def report(
    context: click.Context,
    results: Path,
    formats: str,
    check: bool,
    no_figures: bool,
    pages: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Write a report anew from all records of a results folder.

    html is one page that works offline; latex is a document (and its PDF, where pdflatex is
    there), a file for each table, and a macro for each number. --into keeps tables and figures
    in a page of yours up to date: those that it asks for between two lines,
    <!-- bench report RESULTS: table NAME, figure NAME --> and <!-- bench report: end -->. With
    --check, without --format, every report in the folder is compared, and the pages. Exit code: 0
    done or current, 1 stale, 2 wrong use.
    """
    chosen = _formats(formats)
    folder, records, failures = _recorded(results, details=not no_figures)
    if check:
        is_default = context.get_parameter_source("formats") is ParameterSource.DEFAULT
        asked = () if is_default else chosen
        context.exit(_check(folder, records, failures, asked, not no_figures, pages, as_json))
    from reports.report import write_report

    renew_accounts(folder)
    paths = write_report(folder, records, failures, chosen, True, not no_figures, pages)
    files = [str(path) for path in (*paths, *pages)]
    if as_json:
        from reports import tables
        from reports.summary import Collection, all_tables

        shown = all_tables(Collection.of(records, failures))
        content = {"tables": [tables.as_json(table) for table in shown], "report": str(paths[0])}
        click.echo(json.dumps(content | {"files": files}, indent=1))
        return
    for path in files:
        click.echo(path)
    if "latex" in chosen and paths[-1].suffix != ".pdf":
        click.echo("no PDF: pdflatex is not there (Debian: texlive-latex-recommended)", err=True)


def _formats(text: str) -> tuple[str, ...]:
    from reports.report import FORMATS

    if text.strip() == "all":
        return tuple(FORMATS)
    names = [_ALSO.get(name.strip(), name.strip()) for name in text.split(",")]
    for name in names:
        if name not in FORMATS:
            raise unknown("format", name, [*FORMATS, "all"])
    return tuple(dict.fromkeys(names))


def _recorded(
    results: Path, details: bool = True
) -> tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]:
    from bench.memory import uncollected
    from bench.results import Results

    folder = Results(results, warn=_warn)
    folder.require()
    with uncollected():
        return results, list(folder.records(details=details)), list(folder.failures())


def _check(
    folder: Path,
    records: list[dict[str, Any]],
    failures: list[dict[str, Any]],
    formats: tuple[str, ...],
    figures: bool,
    pages: tuple[Path, ...],
    as_json: bool,
) -> int:
    from reports.report import stale_files

    stale = stale_files(folder, records, failures, formats, figures, pages)
    if as_json:
        click.echo(json.dumps({"stale": stale}, indent=1))
    elif stale:
        for name, reason in stale.items():
            place = name if Path(name) in pages else folder / name
            click.echo(f"{place} {reason}", err=True)
        click.echo("Write it anew with: bench report, the same --format and --into", err=True)
    else:
        click.echo("The report is what the records give.")
    return SOME_FAILED if stale else 0


@click.command()
@click.argument("asked", metavar="CELL|METHOD:RATIO[:MODEL]")
@results_option
@json_option
@debug_option
def why(asked: str, results: Path, as_json: bool) -> None:
    """Tell where a number comes from: its cells, seeds, costs, commits and machines.

    adq:10:resnet18 is a number of the report; after the model may follow the protocol and the
    data set. CELL prints all that is recorded of one cell, as JSON; the id's first characters
    are enough.
    """
    if ":" in asked:
        _tell_number(asked, results, as_json)
    else:
        click.echo(json.dumps(_cell(asked, results), indent=1))


def _tell_number(asked: str, results: Path, as_json: bool) -> None:
    from reports import tables
    from reports.summary import Collection
    from reports.why import number_tables

    _, records, failures = _recorded(results, details=False)
    if not records and not failures:
        raise UsageError(f"{results} has no cells yet. Compute some with: bench run")
    found = number_tables(Collection.of(records, failures), asked)
    if as_json:
        content = [tables.as_json(table) for table in found]
        click.echo(json.dumps({"numbers": content}, indent=1))
        return
    click.echo("\n\n".join(map(tables.as_text, found)))


def _cell(cell: str, results: Path) -> dict[str, Any]:
    from bench.results import Results

    folder = Results(results, warn=_warn)
    folder.require()
    ids = {
        path.stem for kind in ("records", "failures") for path in (results / kind).glob("*.json")
    }
    prefixes = (cell, f"cell-{cell}", f"cell-{IDENTITY_VERSION}-{cell}")
    found = sorted(i for i in ids if i.startswith(prefixes))
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} cells in {results} begin with '{cell}'. Give the id of one, as in the "
            "names of the files in records/, or a number, e.g. adq:10"
        )
    told = folder.record(found[0]) or folder.failure(found[0])
    if told is None:
        raise UsageError(f"nothing readable is recorded of {found[0]}. Run its sweep again")
    return told


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)
