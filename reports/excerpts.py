"""Tables and figures of a report within other pages: what stands between two marks.

A page, such as a README, says what it wants in a comment of its own and keeps it up to date::

    <!-- bench report studies/one: table cost-digits-resnet8-smoke, figure curves -->
    <!-- bench report: end -->

``table NAME of random dq adq[alpha=0.5]`` shows the rows of these methods alone; a row's mark
as a reconstruction is no part of its name.
Marks within fenced code stand for themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from bench.contract import RECONSTRUCTION
from bench.errors import DataError, UsageError, unknown
from reports.markdown import figure_as_markdown
from reports.tables import Table, as_markdown

if TYPE_CHECKING:
    from reports.content import Report

T = TypeVar("T")
_BEGIN = re.compile(r"<!-- bench report (?P<folder>[^:\n]+): (?P<asked>[^\n]+) -->\s*")
_END = "<!-- bench report: end -->"
_FENCES = ("```", "~~~")
_KINDS = ("table", "figure")
_NEXT = re.compile(rf",\s*(?=(?:{'|'.join(_KINDS)})\s)")


class Page(NamedTuple):
    """A page with its excerpts, and the figures that it shows."""

    text: str
    figures: frozenset[str]


class _Mark(NamedTuple):
    """Where an excerpt begins and ends in a page, and what it asks for."""

    start: int
    end: int
    folder: str
    asked: str


def with_excerpts(text: str, report: Report, folder: Path, page: Path) -> Page:
    """Return a page with the excerpts of one report anew.

    Parameters
    ----------
    text : str
        The page; what stands outside of the marks, and excerpts of other folders, stay.
    report : Report
        That of ``folder``.
    folder, page : Path
        The results folder, and where the page lies: the marks name the folder from there.

    Raises
    ------
    DataError
        When a mark has no end, or none is of this folder.
    UsageError
        For a table or figure that the report does not have.
    """
    place = Path(os.path.relpath(folder, page.parent)).as_posix()
    newline = "\r\n" if "\r\n" in text else "\n"
    marks = [one for one in _marks(text, page) if Path(one.folder).as_posix() == place]
    if not marks:
        raise DataError(
            f"{page} asks for nothing of {folder}. Write where it shall stand: "
            f"<!-- bench report {place}: table NAME, figure NAME --> and {_END}, a line each"
        )
    parts, done, figures = [], 0, set()
    for mark in marks:
        asked = [_Asked.parse(one) for one in _NEXT.split(mark.asked)]
        figures |= {one.name for one in asked if one.kind == "figure"}
        made = "\n\n".join(["", *(_rendered(one, report, place) for one in asked), ""])
        parts += [text[done : mark.start], made[1:].replace("\n", newline)]
        done = mark.end
    return Page("".join([*parts, text[done:]]), frozenset(figures))


class _Asked(NamedTuple):
    """A table or figure, and the methods whose rows are shown; all of them where none is named."""

    kind: str
    name: str
    methods: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> _Asked:
        kind, name, *of = text.split() + [""] * (2 - len(text.split()))
        if of[:1] not in ([], ["of"]) or len(of) == 1 or (of and kind != "table"):
            raise UsageError(
                f"excerpt '{text.strip()}' is not one. Write: table NAME, table NAME of METHOD "
                "METHOD ..., or figure NAME"
            )
        return cls(kind, name, tuple(of[1:]))


def _marks(text: str, page: Path) -> Iterator[_Mark]:
    begun: tuple[int, int, re.Match[str]] | None = None
    fence, place = "", 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        bare = line.strip()
        if bare.startswith(_FENCES) and (not fence or bare.startswith(fence)):
            fence = "" if fence else bare[:3]
        begin = None if fence else _BEGIN.fullmatch(line)
        if begin and begun:
            break
        if begin:
            begun = place + len(line), number, begin
        elif begun and bare == _END:
            yield _Mark(begun[0], place, begun[2]["folder"].strip(), begun[2]["asked"])
            begun = None
        place += len(line)
    if begun:
        raise DataError(f"{page}, line {begun[1]}: no end to this excerpt. Write {_END} after it")


def _rendered(asked: _Asked, report: Report, place: str) -> str:
    if asked.kind not in _KINDS:
        raise unknown("kind of excerpt", asked.kind, _KINDS)
    if asked.kind == "table":
        table = _named(asked, {one.name: one for one in (*report.tables, *report.pages)})
        return as_markdown(_of_methods(table, asked.methods)).rstrip()
    return figure_as_markdown(_named(asked, {one.name: one for one in report.figures}), place)


def _named(asked: _Asked, there: Mapping[str, T]) -> T:
    if not there:
        raise UsageError(f"this report has no {asked.kind}s, so no '{asked.name}' for the page")
    if asked.name not in there:
        raise unknown(f"{asked.kind} of the report", asked.name, list(there))
    return there[asked.name]


def _of_methods(table: Table, methods: tuple[str, ...]) -> Table:
    if not methods:
        return table
    there = [
        row.get("spec") or str(row.get("method", "")).removesuffix(RECONSTRUCTION)
        for row in table.rows
    ]
    for method in methods:
        if method not in there:
            raise unknown(f"method of the table '{table.name}'", method, list(dict.fromkeys(there)))
    kept = [place for place, method in enumerate(there) if method in methods]
    told = f"{len(kept)} of the report's {len(table.rows)} rows."
    return table.of_rows(kept, told)
