"""A report in Markdown, with its figures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.content import TITLE
from reports.tables import as_markdown, escaped

if TYPE_CHECKING:
    from reports.content import Figure, Report

FIGURES = "figures"


def write_report(
    folder: Path,
    records: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, Any]] = (),
    anew: bool = False,
) -> Path:
    """Write ``report.md`` and its figures into a results folder; return its path."""
    from reports import report

    return report.write_report(folder, records, failures, ("md",), anew)[0]


def as_page(report: Report, stamp: str) -> str:
    """Return the report; its figures are ``figures/NAME.svg``. The stamp tells its origin."""
    parts = [f"<!-- {stamp} -->", f"# {TITLE}", *report.introduction]
    for section in report.sections:
        parts += [f"## {section.title}", *section.paragraphs]
        parts += [as_markdown(table).rstrip() for table in section.pages]
        parts += [figure_as_markdown(figure) for figure in section.figures]
    if report.protocols:
        lines = [f"- `{_code(spec)}`: {_code(told)}" for spec, told in report.protocols.items()]
        parts += ["## Protocols in full", "\n".join(lines)]
    if report.origins:
        parts += ["## Machines and code", "\n".join(f"- {escaped(o)}" for o in report.origins)]
    return "\n\n".join(parts) + "\n"


def figure_as_markdown(figure: Figure, folder: str = "") -> str:
    """Return a figure with its caption, in a page from which the report's folder is ``folder``."""
    place = f"{folder}/{FIGURES}" if folder else FIGURES
    return f"![{escaped(figure.title)}]({place}/{figure.name}.svg)\n\n{escaped(figure.caption)}"


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
