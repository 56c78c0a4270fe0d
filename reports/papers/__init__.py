"""The tables of ADQ's paper in its own layout, made from records."""

from __future__ import annotations

from collections.abc import Iterable

from reports.papers.architectures import table_one
from reports.papers.budgets import budget_tables
from reports.papers.costs import table_two
from reports.papers.layout import ARITHMETIC
from reports.papers.modules import table_three
from reports.papers.overlaps import overlap_tables, released_indices, stored_indices
from reports.runs import Series
from reports.tables import Table

__all__ = [
    "ARITHMETIC",
    "budget_tables",
    "overlap_tables",
    "paper_tables",
    "released_indices",
    "stored_indices",
    "table_one",
    "table_three",
    "table_two",
]


def paper_tables(series: Iterable[Series]) -> list[Table]:
    """Return every table of the paper for which the records suffice."""
    kept = list(series)
    return [
        *table_one(kept), *table_one(kept, "random"), *table_two(kept), *table_three(kept),
    ]  # fmt: skip
