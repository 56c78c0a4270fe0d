"""Tables for other programs: CSV with full numbers, JSON with the cells behind each number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from reports.statistics import Estimate
from reports.tables import Table, as_json


def as_csv(table: Table) -> str:
    """Return a table as CSV with full numbers.

    An estimate takes three columns: its mean under the column's key, then ``_half_width`` and
    ``_n``. What is missing is empty.
    """
    estimates = {
        column.key
        for column in table.columns
        if any(isinstance(row.get(column.key), Estimate) for row in table.rows)
    }
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        name
        for column in table.columns
        for name in (
            (column.key, f"{column.key}_half_width", f"{column.key}_n")
            if column.key in estimates
            else (column.key,)
        )
    )
    for row in table.rows:
        writer.writerow(
            value
            for column in table.columns
            for value in _fields(row.get(column.key), column.key in estimates)
        )
    return file.getvalue()


def as_full_json(table: Table) -> dict[str, Any]:
    """Return a table as JSON values, with the ids of the cells behind its numbers.

    ``cells`` has for each row the number of a list in ``cell_lists``, by column.
    """
    content = as_json(table)
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


def _fields(value: Any, is_estimate: bool) -> list[Any]:
    if isinstance(value, Estimate):
        return [value.mean, "" if value.half_width is None else value.half_width, value.n]
    if is_estimate:
        return ["", "", ""]
    if isinstance(value, Mapping):
        return [" ".join(f"{key}={item}" for key, item in value.items())]
    if isinstance(value, tuple):
        return [" ".join(map(str, value))]
    return ["" if value is None else value]
