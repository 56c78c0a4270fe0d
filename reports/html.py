"""A report as one HTML file that works offline: tables to sort and filter, numbers to ask."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports.content import TITLE
from reports.statistics import Estimate, Interval
from reports.values import rounded

if TYPE_CHECKING:
    from reports.content import Report
    from reports.reading import Row
    from reports.tables import Column, Table

_TEMPLATE = "report.html"
_DIGITS = 6
_LONG_CHOICE = 60
"""Letters; longer texts are no names."""
_CELL = (
    "id", "method", "percent", "of", "model", "protocol", "dataset", "selection_seed",
    "training_seed", "accuracy", "best_accuracy", "images", "bytes", "steps", "selection_s",
    "training_s", "testing_s", "host", "finished", "origin",
)  # fmt: skip
_FOR_SCRIPTS = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def as_page(report: Report, pictures: Mapping[str, bytes], stamp: str) -> str:
    """Return the page.

    Nothing in it comes from outside, and its policy allows only its own script and style: what a
    name or a message holds is text.

    Parameters
    ----------
    pictures : mapping of figure name to SVG
    stamp : str
        Tells what the page was made from.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("reports")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["breakable"] = _breakable
    style, script = (loader.get_source(environment, name)[0] for name in ("page.css", "page.js"))
    links = _Links()
    sections = [
        {
            "name": section.name,
            "title": section.title,
            "paragraphs": section.paragraphs,
            "tables": [_table(table, links) for table in section.tables],
            "figures": [
                {"name": f.name, "caption": f.caption, "source": _source(pictures[f.name])}
                for f in section.figures
            ],
        }
        for section in report.sections
    ]
    return environment.get_template(_TEMPLATE).render(
        title=TITLE,
        stamp=stamp,
        makers=sorted(_makers(pictures.values())),
        introduction=report.introduction,
        sections=sections,
        protocols=report.protocols,
        origins=report.origins,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=_as_data(cells_data(report.results.rows, links)),
    )


class _Links:
    """The lists of cells behind numbers, each kept once and told by its number."""

    def __init__(self) -> None:
        self.lists: dict[tuple[str, ...], int] = {}

    def number(self, ids: Sequence[str]) -> int:
        """Return the number of a list."""
        return self.lists.setdefault(tuple(ids), len(self.lists))


def _table(table: Table, links: _Links) -> dict[str, Any]:
    texts = table.texts()
    return {
        "name": table.name,
        "title": table.title,
        "notes": table.all_notes,
        "columns": [
            {"heading": column.heading, "left": column.left, "filter": _is_choice(table, column)}
            for column in table.columns
        ],
        "rows": [
            [
                {
                    "text": text,
                    "left": column.left,
                    "value": _value(row.get(column.key)),
                    "link": links.number(table.links[number, column.key])
                    if (number, column.key) in table.links and row.get(column.key) is not None
                    else None,
                    "bold": (number, column.key) in table.bold,
                }
                for column, text in zip(table.columns, line, strict=True)
            ]
            for number, (row, line) in enumerate(zip(table.rows, texts, strict=True))
        ],
    }


def _is_choice(table: Table, column: Column) -> bool:
    """Return whether a column's rows can be chosen from a list of its values: few, and short."""
    if not (column.left or column.key == "percent"):
        return False
    texts = [str(row.get(column.key)) for row in table.rows]
    return len(set(texts)) < len(texts) and max(map(len, texts)) <= _LONG_CHOICE


def _value(value: Any) -> float | None:
    """Return the number that a cell is sorted by, or None where it is a text.

    Rounded, since the last bits of means and tests depend on the processor.
    """
    if isinstance(value, Estimate):
        value = value.mean
    elif isinstance(value, Interval):
        value = value.value
    elif isinstance(value, tuple) and value and isinstance(value[0], int | float):
        value = value[0]
    return rounded(value, _DIGITS) if isinstance(value, int | float) else None


def cells_data(rows: Sequence[Row], links: _Links) -> dict[str, Any]:
    """Return what the page tells of cells; texts that occur often are told by their number."""
    texts: dict[str, int] = {}
    wanted = {identifier for ids in links.lists for identifier in ids}
    shown = [row for row in rows if row["id"] in wanted]
    place = {row["id"]: number for number, row in enumerate(shown)}
    kinds = [
        "text" if shown and isinstance(shown[0].get(name), str) and name != "id" else "value"
        for name in _CELL
    ]
    cells = [
        [
            texts.setdefault(row.get(name, ""), len(texts)) if kind == "text"
            else rounded(row.get(name), _DIGITS)
            for name, kind in zip(_CELL, kinds, strict=True)
        ]
        for row in shown
    ]  # fmt: skip
    return {
        "fields": list(_CELL),
        "kinds": kinds,
        "texts": list(texts),
        "cells": cells,
        "links": [[place[i] for i in ids if i in place] for ids in links.lists],
    }


def _as_data(content: Any) -> Any:
    """Return JSON that no parser of HTML takes for the end of its script."""
    from markupsafe import Markup

    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.translate(_FOR_SCRIPTS))


def _breakable(text: str) -> Any:
    """Return a text that is broken at its names' commas and brackets before it is within words."""
    from markupsafe import Markup

    return Markup("<wbr>").join(re.split(r"(?<=[,\[=])(?=[^\W\d])", text))


def _source(picture: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _makers(pictures: Any) -> set[str]:
    return {found.decode() for p in pictures for found in re.findall(rb"Matplotlib v[\w.+]+", p)}
