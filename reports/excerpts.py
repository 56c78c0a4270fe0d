"""Tables and figures of a report within other pages: what stands between two marks.

A page, such as a README, says what it wants in a comment of its own and keeps it up to date::

    <!-- bench report studies/one: table cost-digits-resnet8-smoke, figure curves -->
    <!-- bench report: end -->
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from bench.errors import DataError, unknown
from reports.markdown import figure_as_markdown
from reports.tables import as_markdown

if TYPE_CHECKING:
    from reports.content import Report

T = TypeVar("T")
_BEGIN = re.compile(r"^<!-- bench report (?P<folder>[^:\n]+): (?P<asked>[^\n]+) -->$", re.MULTILINE)
_END = "<!-- bench report: end -->"
_KINDS = ("table", "figure")


class _Mark(NamedTuple):
    """Where an excerpt begins and ends in a page, and what it asks for."""

    start: int
    end: int
    folder: str
    asked: str


def with_excerpts(text: str, report: Report, folder: Path, page: Path) -> str:
    """Return a page's text with the excerpts of one report anew.

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
    parts, done, found = [], 0, False
    for mark in _marks(text, page):
        if Path(mark.folder).as_posix() != place:
            continue
        found = True
        made = "\n\n".join(_rendered(one, report, place) for one in mark.asked.split(","))
        parts += [text[done : mark.start], f"\n{made}\n"]
        done = mark.end
    if not found:
        raise DataError(
            f"{page} asks for nothing of {folder}. Write where it shall stand: "
            f"<!-- bench report {place}: table NAME, figure NAME --> and {_END}, a line each"
        )
    return "".join([*parts, text[done:]])


def _marks(text: str, page: Path) -> Iterator[_Mark]:
    for begin in _BEGIN.finditer(text):
        end = text.find(_END, begin.end())
        following = _BEGIN.search(text, begin.end())
        if end < 0 or (following and following.start() < end):
            line = text.count("\n", 0, begin.start()) + 1
            raise DataError(f"{page}, line {line}: no end to this excerpt. Write {_END} after it")
        yield _Mark(begin.end(), end, begin["folder"].strip(), begin["asked"])


def _rendered(asked: str, report: Report, place: str) -> str:
    kind, _, name = asked.strip().partition(" ")
    if kind not in _KINDS:
        raise unknown("kind of excerpt", kind, _KINDS)
    if kind == "table":
        return as_markdown(_named(kind, name, {one.name: one for one in report.tables})).rstrip()
    figure = _named(kind, name, {one.name: one for one in report.figures})
    return figure_as_markdown(figure, place)


def _named(kind: str, name: str, there: Mapping[str, T]) -> T:
    if name not in there:
        raise unknown(f"{kind} of the report", name, list(there))
    return there[name]
