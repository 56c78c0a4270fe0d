"""One model of a table, and its renderings as plain text, Markdown and JSON."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import zip_longest
from textwrap import TextWrapper, fill
from typing import Any

from reports.statistics import Estimate, Interval

_TEXT_WIDTH = 80
_LEAST_NAME = 12
_GAP = "  "
_LARGE = 1e6
"""From here on six digits would be told with an exponent."""
_AFTER_PARAMETER = re.compile(r"(?<=[,\[\]])(?![,\]]|$)")
_AFTER_EQUALS = re.compile(r"(?<==)")
_OF_MARKDOWN = re.compile(r"[\\|\[\]<>*_`]")


@dataclass(frozen=True)
class Column:
    """A column: the key of its values in a row, its heading, and how a value is shown.

    ``word`` names its numbers in LaTeX macros; without one it has none.
    """

    key: str
    heading: str
    show: Callable[[Any], str] = str
    left: bool = False
    word: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of values with the notes that stand under them.

    Parameters
    ----------
    bold : set of (row number, column key)
        The cells to emphasise.
    emphasis : str
        What bold means; a note where a format shows bold.
    links : mapping of (row number, column key) to cell ids
        The cells behind a number.
    name : str
        A short ASCII name for files, anchors and labels.
    notes_of : callable or None
        Returns the notes of some of the rows, by their numbers, where those of a part are others.
    brief : sequence of Table
        What documents that are read page by page show instead, where there are very many rows.
    keys : sequence of (scope, ...) tuples
        For each row the words that name it in LaTeX macros; the first is common to the table.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()
    bold: frozenset[tuple[int, str]] = frozenset()
    links: Mapping[tuple[int, str], Sequence[str]] = field(default_factory=dict)
    name: str = ""
    keys: Sequence[tuple[str, ...]] = ()
    emphasis: str = ""
    notes_of: Callable[[Sequence[int]], Sequence[str]] | None = None
    brief: Sequence[Table] = ()

    @property
    def all_notes(self) -> list[str]:
        """The notes of a format that shows bold."""
        return [*self.notes, *([self.emphasis] if self.emphasis else [])]

    def of_rows(self, places: Sequence[int], told: str) -> Table:
        """Return a table of some of the rows, by their numbers, with a note that tells it."""
        new = {old: number for number, old in enumerate(places)}
        notes = self.notes_of(places) if self.notes_of else self.notes
        return replace(
            self,
            rows=[self.rows[place] for place in places],
            notes=[*notes, told],
            notes_of=None,
            brief=(),
            bold=frozenset((new[row], key) for row, key in self.bold if row in new),
            links={(new[row], key): ids for (row, key), ids in self.links.items() if row in new},
            keys=[self.keys[place] for place in places] if self.keys else (),
        )

    def texts(self) -> list[list[str]]:
        """Return the cells' texts; a value that is missing shows as a dash."""
        return [
            ["–" if row.get(c.key) is None else c.show(row[c.key]) for c in self.columns]
            for row in self.rows
        ]


def as_text(table: Table) -> str:
    """Render for a terminal; texts too long for 80 columns go on in the next line.

    The widest columns of text are folded, none to fewer than 12 characters.
    """
    lines = [[column.heading for column in table.columns], *table.texts()]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - _TEXT_WIDTH
    texts = [place for place, column in enumerate(table.columns) if column.left]
    for _ in range(excess):
        widest = max(texts, key=lambda place: widths[place])
        if widths[widest] <= _LEAST_NAME:
            break
        widths[widest] -= 1
    rendered = [_rendered(line, widths, table.columns) for line in lines]
    rule = "-" * max(len(text) for block in rendered for text in block)
    head, *body = ["\n".join(block) for block in rendered]
    notes = [
        fill(note, _TEXT_WIDTH, initial_indent="  ", subsequent_indent="    ")
        for note in table.notes
    ]
    return "\n".join([table.title, rule, head, rule, *body, rule, *notes])


def _rendered(line: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    """Return the text lines of one row; a cell longer than its column is folded."""
    folded = [
        _Folder(width, break_on_hyphens=False).wrap(cell) or [""]
        for cell, width in zip(line, widths, strict=True)
    ]
    return [
        _GAP.join(
            cell.ljust(width) if column.left else cell.rjust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        ).rstrip()
        for cells in zip_longest(*folded, fillvalue="")
    ]


class _Folder(TextWrapper):
    """Breaks specs after commas and brackets, and after = where that is not enough."""

    def _split(self, text: str) -> list[str]:
        pieces = [
            piece for chunk in super()._split(text) for piece in _AFTER_PARAMETER.split(chunk)
        ]
        return [
            part
            for piece in pieces
            for part in (_AFTER_EQUALS.split(piece) if len(piece) > self.width else [piece])
        ]


def as_markdown(table: Table) -> str:
    """Render as a GitHub-flavoured Markdown table."""
    rule = [":---" if column.left else "---:" for column in table.columns]
    texts = [
        [
            f"**{escaped(cell)}**" if (number, column.key) in table.bold else escaped(cell)
            for cell, column in zip(line, table.columns, strict=True)
        ]
        for number, line in enumerate(table.texts())
    ]
    lines = [[escaped(column.heading) for column in table.columns], rule, *texts]
    rendered = ["| " + " | ".join(line) + " |" for line in lines]
    notes = [f"- {escaped(note)}" for note in table.all_notes]
    return "\n".join([f"### {escaped(table.title)}", "", *rendered, "", *notes])


def as_json(table: Table) -> dict[str, Any]:
    """Return the table as JSON values, with full numbers."""
    rows = [{c.key: _plain(row.get(c.key)) for c in table.columns} for row in table.rows]
    told = {"name": table.name} if table.name else {}
    content: dict[str, Any] = {
        **told,
        "title": table.title,
        "rows": rows,
        "notes": list(table.notes),
    }
    if table.bold:
        content["bold"] = [list(place) for place in sorted(table.bold)]
    return content


def ascii_name(text: str) -> str:
    """Return a text as letters, digits, dots and single hyphens, for files, anchors and labels."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = "".join(c if c.isalnum() or c == "." else " " for c in plain)
    return "-".join(words.split()).strip(".-") or "unnamed"


def percent(estimate: Estimate) -> str:
    """Show an accuracy with its interval."""
    return f"{estimate.mean:.2f}{plus_minus(estimate)}"


def difference(estimate: Estimate) -> str:
    """Show a difference of accuracies with its interval."""
    return f"{signed(estimate.mean)}{plus_minus(estimate)}"


def signed(value: float, digits: int = 2) -> str:
    """Show a difference; what rounds to nothing has no minus."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "+" if float(text) == 0 else "−")


def number(value: float) -> str:
    """Show a count with thousands separated, or a percent without trailing zeros."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,g}" if abs(value) < _LARGE else f"{value:,.0f}"


def plus_minus(estimate: Estimate, show: Callable[[float], str] = "{:.2f}".format) -> str:
    """Return what stands behind a mean: half of its interval, or how many equal values it is of.

    Equal values show no spread: an interval of no length would be too sure.
    """
    if estimate.half_width is None:
        return ""
    return f" ± {show(estimate.half_width)}" if estimate.half_width else f" ({estimate.n} equal)"


def escaped(text: str) -> str:
    """Return a text in one line, with what Markdown would read as its own made plain."""
    return _OF_MARKDOWN.sub(r"\\\g<0>", " ".join(text.split())).replace("&", "&amp;")


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate | Interval):
        return vars(value)
    return float(value) if isinstance(value, Decimal) else value
