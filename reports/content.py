"""What a report says, before any format: sections of tables and figures, and their origin."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.results import CONFLICTS
from reports.ablations import ablation_tables
from reports.allocations import allocation_tables
from reports.arithmetic import arithmetic_table
from reports.claims import Verdict, ledger, read_claims
from reports.collection import Collection
from reports.papers import (
    budget_tables,
    overlap_tables,
    paper_tables,
    released_indices,
    stored_indices,
)
from reports.runs import series_of
from reports.spending import cost_table, speed_table
from reports.stamps import stamp_of
from reports.statistics_tables import statistics_tables
from reports.summary import accuracy_table, failure_table
from reports.tables import ascii_name

if TYPE_CHECKING:
    from reports.runs import Series
    from reports.tables import Table

Records = Sequence[Mapping[str, Any]]
TITLE = "Dataset compression: results"


@dataclass(frozen=True)
class Figure:
    """A figure that is drawn when a format needs it.

    ``draw`` writes it to a path whose suffix says how: ``.svg`` or ``.pdf``.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Path], None]


@dataclass(frozen=True)
class Section:
    """A part of a report. ``name`` is a short ASCII name for anchors."""

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()

    @property
    def pages(self) -> list[Table]:
        """The tables as documents that are read page by page show them."""
        return [shown for table in self.tables for shown in table.brief or (table,)]


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Parameters
    ----------
    introduction : sequence of str
        Paragraphs.
    sections : sequence of Section
        Only those that have something to say.
    protocols : mapping of spec to its parameters in words
    origins : sequence of str
        Code and machines.
    results : Collection
        The rows that the tables are made of.
    stamp : str
        Digest of what the report is made from.
    """

    introduction: Sequence[str]
    sections: Sequence[Section]
    protocols: Mapping[str, str] = field(default_factory=dict)
    origins: Sequence[str] = ()
    results: Collection = field(default_factory=lambda: Collection([]))
    stamp: str = ""

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        return [table for section in self.sections for table in section.tables]

    @property
    def pages(self) -> list[Table]:
        """All tables, as :attr:`Section.pages` has them."""
        return [table for section in self.sections for table in section.pages]

    @property
    def figures(self) -> list[Figure]:
        """All figures, in order."""
        return [figure for section in self.sections for figure in section.figures]


def contents(
    results: Collection, records: Records, folder: Path | None = None, figures: bool = True
) -> Report:
    """Return the report of results.

    Parameters
    ----------
    results : Collection
        Made from the records and the failures.
    records : sequence of mapping
        As stored.
    folder : Path, optional
        The results folder, whose stored selections and studies the records name.
    figures : bool
        Whether it has figures.
    """
    series = series_of(records, results.rows)
    left_out: list[str] = []
    found = [
        _section("accuracy", "Accuracy", _of_settings(results, accuracy_table)),
        _section("papers", "In the papers' layout", paper_tables(series)),
        _section(
            "cost", "Cost", [*_costs(results), *allocation_tables(records, folder, left_out.append)]
        ),
        _section("ablations", "Ablations", _ablations(results)),
        _section("statistics", "Comparisons and orders", statistics_tables(results)),
        _section("budgets", "Budgets kept", budget_tables(series)),
        _section("overlap", "Overlap", _overlap(series, folder, left_out.append)),
        _section("failures", "Failures", [failure_table(results)] if results.failures else []),
        _claims(results),
    ]
    if figures:
        drawn = list(_drawings(records, folder, left_out.append))
        found.append(Section("figures", "Figures", figures=drawn))
    return Report(
        introduction=[*_introduction(results), *_conflicts(folder), *_left_out(left_out, folder)],
        sections=_named([one for one in found if one.paragraphs or one.tables or one.figures]),
        protocols={
            spec: ", ".join(f"{key} {json.dumps(value)}" for key, value in fields.items())
            for spec, fields in sorted(results.protocols.items())
        },
        origins=sorted({row["origin"] for row in (*results.rows, *results.failures)}),
        results=results,
        stamp=stamp_of(results, folder, figures),
    )


def _section(name: str, title: str, tables: Sequence[Table]) -> Section:
    return Section(name, title, tables=tables)


def _named(sections: Sequence[Section]) -> list[Section]:
    """Return the sections with names of tables that no other table has."""
    taken: Counter[str] = Counter()

    def as_named(table: Table) -> Table:
        name = table.name or ascii_name(table.title)
        taken[name] += 1
        brief = [as_named(one) for one in table.brief]
        return replace(
            table, name=f"{name}-{taken[name]}" if taken[name] > 1 else name, brief=brief
        )

    return [
        replace(section, tables=[as_named(table) for table in section.tables])
        for section in sections
    ]


def _introduction(results: Collection) -> list[str]:
    if not results.rows and not results.failures:
        return ["No cell has been computed yet. Run bench run with this results folder."]
    told = [
        f"Complete cells: {len(results.rows):,}; failed: {len(results.failures):,}. Each number is "
        "computed from the records beside this file, one JSON file a cell in records/."
    ]
    if not results.rows:
        told.append(
            "Every cell failed, so there is no accuracy to show. Mend the causes below and run "
            "the same command again; bench why CELL shows a failure in full."
        )
    return told


def _conflicts(folder: Path | None) -> list[str]:
    """Tell cells that merged folders have other numbers of; they are in no table."""
    if folder is None:
        return []
    cells = sorted(
        place.name
        for place in (folder / CONFLICTS).glob("cell-*")
        if not (folder / "records" / f"{place.name}.json").exists()
    )
    if not cells:
        return []
    return [
        f"Cells in conflict, in no table: {len(cells):,} ({', '.join(cells[:3])}"
        f"{', ...' * (len(cells) > 3)}). Merged folders have other numbers of them; all versions "
        f"lie in {CONFLICTS}/."
    ]


def _left_out(reasons: Sequence[str], folder: Path | None) -> list[str]:
    """Tell what lies in the folder and cannot be used; by paths within it, so that it can move."""
    return [f"Left out of this report: {one.replace(f'{folder}/', '')}." for one in reasons]


def _of_settings(results: Collection, make: Callable[..., Table | None]) -> list[Table]:
    tables = [make(results, setting) for setting in results.settings()]
    return [table for table in tables if table is not None]


def _costs(results: Collection) -> list[Table]:
    tables = [*_of_settings(results, cost_table), *_of_settings(results, speed_table)]
    return [table for table in tables if table.rows]


def _ablations(results: Collection) -> list[Table]:
    return [table for one in results.settings() for table in ablation_tables(results, one)]


def _overlap(
    series: Sequence[Series], folder: Path | None, leave_out: Callable[[str], None]
) -> list[Table]:
    if folder is None:
        return []
    return overlap_tables(series, stored_indices(folder), released_indices(folder, leave_out))


def _claims(results: Collection) -> Section:
    """Return the ledger where the records can test a published number; else say that none can."""
    title = "Published claims"
    if not results.rows:
        return Section("ledger", title)
    claims = read_claims()
    table = ledger(claims, results.rows)
    if any(row["ours"] is not None for row in table.rows):
        return _section("ledger", title, [*_tested_first(table), arithmetic_table(claims)])
    told = (
        f"None of the {len(claims)} published numbers that bench knows can be tested on these "
        "records: their data sets, methods or ratios are others. All are not run. See: bench "
        "reproduce."
    )
    return Section("ledger", title, [told])


def _tested_first(ledger: Table) -> list[Table]:
    """Return the ledger as two tables: claims with a verdict, and those that were not run."""
    found: dict[bool, list[int]] = {True: [], False: []}
    for place, row in enumerate(ledger.rows):
        found[row["verdict"] != Verdict.NOT_RUN].append(place)
    tables = [
        replace(
            ledger,
            rows=[ledger.rows[place] for place in places],
            links={
                (places.index(place), column): ids
                for (place, column), ids in ledger.links.items()
                if place in places
            },
        )
        for places in found.values()
    ]
    rest = replace(
        tables[1],
        title="Published numbers that were not run",
        columns=[c for c in ledger.columns if c.key in ("claim", "source", "published", "why")],
        notes=(),
        name="ledger-not-run",
    )
    return [tables[0], rest] if rest.rows else tables[:1]


def _drawings(
    records: Records, folder: Path | None, leave_out: Callable[[str], None]
) -> Iterator[Figure]:
    if not records:
        return
    from reports.figures import drawings, grid_drawings, read_studies
    from reports.figures.style import save

    studies = [] if folder is None else read_studies(folder, leave_out)
    grids = [] if folder is None else grid_drawings(folder, leave_out)
    for drawing in chain(drawings(records, studies), grids):
        yield Figure(
            drawing.name,
            drawing.title,
            f"{drawing.title}. {drawing.caption}",
            partial(save, drawing.canvas),
        )
