"""A table that is wider than a page as one or several that are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reports.statistics import Estimate
from reports.tables import Column, Table


def fitting(
    table: Table, fits: Callable[[Table], bool], fits_upright: Callable[[Table], bool]
) -> list[Table]:
    """Return a table in parts that fit: with rows and columns exchanged, or else some columns each.

    Parameters
    ----------
    table : Table
    fits, fits_upright : callable
        Tell whether a table is not wider than a page, turned if need be; several stand upright.

    Returns
    -------
    list of Table
        The notes stand under the last one. A part of a single column may still not fit.
    """
    if fits(table):
        return [table]
    turned = _turned(table)
    if fits(turned):
        return [turned]
    blocks = _blocks(table, fits_upright)
    last = len(blocks)
    return [
        replace(
            table,
            title=f"{table.title} (part {number} of {last})" if last > 1 else table.title,
            columns=columns,
            notes=table.notes if number == last else (),
            emphasis=table.emphasis if number == last else "",
        )
        for number, columns in enumerate(blocks, 1)
    ]


def _turned(table: Table) -> Table:
    """Return a table whose rows are the columns, below what names the rows."""
    texts = table.texts()
    lead = _naming(table)
    first = Column("", ", ".join(column.heading for column in table.columns[:lead]), left=True)
    columns = [Column(str(k), ", ".join(line[:lead])) for k, line in enumerate(texts)]
    rest = list(enumerate(table.columns))[lead:]
    places = {column.key: number for number, (_, column) in enumerate(rest)}
    return replace(
        table,
        columns=[first, *columns],
        rows=[
            {"": column.heading, **{str(k): line[place] for k, line in enumerate(texts)}}
            for place, column in rest
        ],
        bold=frozenset((places[key], str(row)) for row, key in table.bold if key in places),
        links={
            (places[key], str(row)): ids for (row, key), ids in table.links.items() if key in places
        },
        keys=(),
        notes_of=None,
    )


def _blocks(table: Table, fits: Callable[[Table], bool]) -> list[list[Column]]:
    """Return the columns in blocks, each behind those that name the rows."""
    lead = list(table.columns[: _naming(table)])
    blocks: list[list[Column]] = []
    for column in table.columns[len(lead) :]:
        if blocks and fits(replace(table, columns=[*blocks[-1], column])):
            blocks[-1].append(column)
        else:
            blocks.append([*lead, column])
    return blocks or [lead]


def _naming(table: Table) -> int:
    """Return how many columns name a row: those before the first estimate, at least one."""
    is_estimate = [
        any(isinstance(row.get(column.key), Estimate) for row in table.rows)
        for column in table.columns
    ]
    return max(1, is_estimate.index(True)) if any(is_estimate) else 1
