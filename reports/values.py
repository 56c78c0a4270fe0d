"""Tables for other programs: CSV, and JSON with the cells behind each number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from reports.statistics import Estimate, Interval
from reports.tables import Table, as_json

_DIGITS = 10
"""Of what is told: quantiles and sums differ in later ones from processor to processor."""


def rounded(value: Any, digits: int = _DIGITS) -> Any:
    """Return a value with every float in it rounded to so many significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value


def as_csv(table: Table) -> str:
    """Return a table as CSV with ten significant digits.

    An estimate takes three columns: its mean under the column's key, then ``_half_width`` and
    ``_n``; an interval four: ``_low``, ``_high`` and ``_n``. What is missing is empty.
    """
    parts = {column.key: _parts(table, column.key) for column in table.columns}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        name
        for column in table.columns
        for name in (column.key, *(f"{column.key}_{part}" for part in parts[column.key]))
    )
    for row in table.rows:
        writer.writerow(
            value
            for column in table.columns
            for value in _fields(row.get(column.key), parts[column.key])
        )
    return file.getvalue()


def as_full_json(table: Table) -> dict[str, Any]:
    """Return a table as JSON values of ten significant digits, with the cells behind its numbers.

    ``cells`` has for each row the number of a list in ``cell_lists``, by column.
    """
    content: dict[str, Any] = rounded(as_json(table))
    if table.links:
        lists: dict[tuple[str, ...], int] = {}
        cells: list[dict[str, int]] = [{} for _ in table.rows]
        for (place, key), ids in table.links.items():
            cells[place][key] = lists.setdefault(tuple(ids), len(lists))
        content |= {"cells": cells, "cell_lists": [list(ids) for ids in lists]}
    return content


def spread(value: Any, depth: int) -> str:
    """Return JSON with a line for each item down to a depth, so that versions can be compared."""
    if depth and isinstance(value, dict) and value:
        items = [f"{json.dumps(key)}: {spread(item, depth - 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + "\n}"
    if depth and isinstance(value, list) and value:
        return "[\n" + ",\n".join(spread(item, depth - 1) for item in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


_PARTS = {Estimate: ("half_width", "n"), Interval: ("low", "high", "n")}
"""What is told of a value besides itself."""


def _parts(table: Table, key: str) -> tuple[str, ...]:
    kinds = {type(row.get(key)) for row in table.rows}
    return next((parts for kind, parts in _PARTS.items() if kind in kinds), ())


def _fields(value: Any, parts: tuple[str, ...]) -> list[Any]:
    if isinstance(value, Estimate | Interval):
        main = value.mean if isinstance(value, Estimate) else value.value
        told = [main, *(getattr(value, part) for part in parts)]
    elif isinstance(value, Mapping):
        told = [" ".join(f"{key}={item}" for key, item in value.items())]
    elif isinstance(value, tuple):
        told = [" ".join(map(str, value))]
    else:
        told = [value]
    told += [None] * (1 + len(parts) - len(told))
    return ["" if one is None else rounded(one) for one in told]
