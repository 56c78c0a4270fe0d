"""Tables in LaTeX (booktabs), upright where they fit and sideways where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.latex.escaping import escaped
from reports.latex.parts import fitting
from reports.tables import ascii_name

if TYPE_CHECKING:
    from reports.tables import Column, Table

Texts = Sequence[Sequence[str]]
"""The cells of a table, as :meth:`Table.texts` has them."""
_LONG = {False: 42, True: 26}
"""Lines of an upright and of a sideways table; one with more goes on over pages."""
_SIZES = {r"\small": 98, r"\footnotesize": 110, r"\scriptsize": 126}
"""Letters of a line, by the size of type."""
_SIDEWAYS = 1.5
"""Letters of a sideways line to those of an upright one."""
_LEAST = 9
_CROWDED = {False: 2.0, True: 5.0}
"""Lines that a row of an upright and of a sideways table may take on average."""


@dataclass(frozen=True)
class _Layout:
    """How a table is set.

    Parameters
    ----------
    is_sideways : bool
    size : str
        Of type.
    widths : mapping of column key to letters
        Of the columns of text that are folded.
    lines : int
        That the rows take.
    is_too_wide : bool
        Whether it must be shrunk.
    """

    is_sideways: bool
    size: str
    widths: dict[str, int]
    lines: int
    is_too_wide: bool

    @property
    def is_long(self) -> bool:
        """Whether it goes on over pages."""
        return self.lines > _LONG[self.is_sideways]


def is_sideways(table: Table) -> bool:
    """Return whether a table needs a page's height as its width."""
    first = _parts(table)[0]
    return _layout(first, first.texts()).is_sideways


def as_latex(table: Table) -> str:
    r"""Return a table with its title and notes; for ``\input`` in a paper.

    It needs the packages ``booktabs``, ``array`` and ``graphicx``; wide tables ``rotating``, those
    of many rows ``longtable``, and wide ones of many rows ``pdflscape`` as well. One that is wider
    than a sideways page has its rows as columns, or is several tables of some columns each.
    """
    parts = _parts(table)
    label = f"tab:{table.name or ascii_name(table.title)}"
    return "\n".join(
        _as_latex(part, label if number == 0 else f"{label}-{number + 1}")
        for number, part in enumerate(parts)
    )


def _parts(table: Table) -> list[Table]:
    def fits(part: Table) -> bool:
        return not _layout(part, part.texts()).is_too_wide

    def fits_upright(part: Table) -> bool:
        return fits(part) and not _layout(part, part.texts()).is_sideways

    return fitting(table, fits, fits_upright)


def _as_latex(table: Table, label: str) -> str:
    texts = table.texts()
    layout = _layout(table, texts)
    form = "".join(_form(column, layout.widths.get(column.key)) for column in table.columns)
    head = " & ".join(escaped(column.heading) for column in table.columns) + r" \\"
    body = [_line(table, number, cells, layout.widths) for number, cells in enumerate(texts)]
    notes = [rf"\par {escaped(note, breaks=True)}" for note in table.all_notes]
    under = (
        "\n".join([r"\par\vspace{4pt}{\footnotesize\raggedright", *notes, r"\par}"])
        if notes
        else ""
    )
    caption = rf"\caption{{{escaped(table.title, breaks=True)}}}\label{{{label}}}"
    if layout.is_long:
        lines = [
            r"\begin{landscape}" * layout.is_sideways,
            rf"{{{layout.size}\setlength{{\tabcolsep}}{{4pt}}",
            rf"\begin{{longtable}}{{{form}}}", caption + r"\\", r"\toprule", head, r"\midrule",
            r"\endfirsthead", r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule",
            r"\endfoot", *body, r"\end{longtable}}", under,
            r"\end{landscape}" * layout.is_sideways,
        ]  # fmt: skip
    else:
        place = "sidewaystable" if layout.is_sideways else "table"
        lines = [
            rf"\begin{{{place}}}[htbp]",
            rf"\centering{layout.size}\setlength{{\tabcolsep}}{{4pt}}", caption,
            r"\resizebox{\linewidth}{!}{%" if layout.is_too_wide else "",
            rf"\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}" + "}" * layout.is_too_wide, under, rf"\end{{{place}}}",
        ]  # fmt: skip
    return "\n".join(line for line in lines if line) + "\n"


def _layout(table: Table, texts: Texts) -> _Layout:
    """Return the first layout in which no row is crowded: upright, largest type first."""
    lengths = _lengths(table, texts)
    layout = None
    for turned in (False, True):
        for size, line in _SIZES.items():
            line = int(line * _SIDEWAYS) if turned else line
            widths = _widths(table, lengths, line)
            lines = _lines(table, texts, widths)
            is_too_wide = sum({**lengths, **widths}.values()) + 2 * len(lengths) > line
            layout = _Layout(turned, size, widths, lines, is_too_wide)
            if not is_too_wide and lines <= _CROWDED[turned] * max(1, len(texts)):
                return layout
    assert layout is not None
    return layout


def _line(table: Table, number: int, texts: Sequence[str], widths: dict[str, int]) -> str:
    cells = []
    for column, text in zip(table.columns, texts, strict=True):
        cell = escaped(text, breaks=column.key in widths)
        is_bold = (number, column.key) in table.bold
        cells.append(rf"\textbf{{{cell}}}" if is_bold else cell)
    return " & ".join(cells) + r" \\"


def _lengths(table: Table, texts: Texts) -> dict[str, int]:
    """Return the letters of each column's longest text."""
    return {
        column.key: max(len(column.heading), *(len(line[place]) for line in texts), 0)
        for place, column in enumerate(table.columns)
    }


def _widths(table: Table, lengths: dict[str, int], line: int) -> dict[str, int]:
    """Return the letters of a line for the columns of text that must be folded."""
    room = line - 2 * len(lengths)
    texts = [c.key for c in table.columns if c.left and lengths[c.key] > _LEAST]
    if sum(lengths.values()) <= room:
        return {}
    left = room - sum(length for key, length in lengths.items() if key not in texts)
    while texts:
        # The square root gives a text of four times the letters twice the width.
        total = sum(lengths[key] ** 0.5 for key in texts)
        shares = {key: max(_LEAST, int(left * lengths[key] ** 0.5 / total)) for key in texts}
        short = [key for key in texts if lengths[key] <= shares[key]]
        if not short:
            return shares
        left -= sum(lengths[key] for key in short)
        texts = [key for key in texts if key not in short]
    return {}


def _lines(table: Table, texts: Texts, widths: dict[str, int]) -> int:
    """Return the lines that the rows take."""
    return sum(
        max(
            -(-len(text) // widths.get(column.key, len(text) or 1))
            for column, text in zip(table.columns, line, strict=True)
        )
        for line in texts
    )


def _form(column: Column, width: int | None) -> str:
    if width is None:
        return "l" if column.left else "r"
    return rf">{{\raggedright\arraybackslash}}p{{{width * 0.5:.1f}em}}"
