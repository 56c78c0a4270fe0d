"""Tables in LaTeX (booktabs), a whole document of them, and a macro for each number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.content import TITLE
from reports.statistics import Estimate
from reports.tables import ascii_name

if TYPE_CHECKING:
    from reports.content import Report, Section
    from reports.tables import Column, Table

Texts = Sequence[Sequence[str]]
"""The cells of a table, as :meth:`Table.texts` has them."""
_LONG = 42
"""Lines; a table with more goes on over pages."""
_SIZES = {r"\small": 98, r"\footnotesize": 110, r"\scriptsize": 126}
"""Letters of a line, by the size of type."""
_LEAST = 9
_CROWDED = 1.5
"""Lines that a row may take before smaller type is used."""
_DASH, _BREAK = "\x01", "\x02"
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\^{}", "~": r"\~{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "`": r"{\char18}",
    "[": "{[}", "]": "{]}", "*": "{*}", "±": r"$\pm$", "–": _DASH, "—": "\x01-", _BREAK: _BREAK,
    "−": "$-$", "×": r"$\times$", "…": r"\dots{}", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$",
    "·": r"$\cdot$", "°": r"$^\circ$", "√": r"$\surd$", "∞": r"$\infty$", "→": r"$\to$",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\epsilon$",
    "θ": r"$\theta$", "λ": r"$\lambda$", "μ": r"$\mu$", "µ": r"$\mu$", "ρ": r"$\rho$",
    "σ": r"$\sigma$", "τ": r"$\tau$", "‘": "`", "’": "'", "“": "``", "”": "''",
}  # fmt: skip
_LETTERS = frozenset("äöüÄÖÜßàáâãåæçèéêëìíîïñòóôõøùúûýÿÀÁÂÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕØÙÚÛÝ")
_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")
_WITHIN_WORD = re.compile(r"(?<=[,=/;:_\[-])(?=\S)")


def escaped(text: str, breaks: bool = False) -> str:
    r"""Return a text for LaTeX: its special characters do no harm, and a minus is a minus.

    Letters that plain LaTeX has no shape for are told by their number, as ``[U+4E2D]``.

    Parameters
    ----------
    breaks : bool
        Allow a new line after punctuation within a word.
    """
    line = _NEGATIVE.sub("−", " ".join(text.split()))
    if breaks:
        line = _WITHIN_WORD.sub(_BREAK, line)
    found = "".join(_character(character) for character in line)
    return found.replace(_BREAK, r"\allowbreak{}").replace("--", "-{}-").replace(_DASH, "--")


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character in _LETTERS or " " <= character <= "~":
        return character
    return rf"{{[}}U+{ord(character):04X}{{]}}"


def as_latex(table: Table) -> str:
    r"""Return a table with its title and notes; for ``\input`` in a paper.

    It needs the packages ``booktabs``, ``array``, ``graphicx`` and ``rotating`` for wide
    tables, and ``longtable`` for those of many rows.
    """
    texts = table.texts()
    lengths = _lengths(table, texts)
    size, line = _size(lengths)
    widths = _widths(table, lengths, line)
    form = "".join(_form(column, widths.get(column.key)) for column in table.columns)
    head = " & ".join(escaped(column.heading) for column in table.columns) + r" \\"
    body = [_line(table, number, cells, widths) for number, cells in enumerate(texts)]
    label = f"tab:{table.name or ascii_name(table.title)}"
    notes = [rf"\par {escaped(note, breaks=True)}" for note in table.all_notes]
    under = (
        "\n".join([r"\par\vspace{4pt}{\footnotesize\raggedright", *notes, r"\par}"])
        if notes
        else ""
    )
    caption = rf"\caption{{{escaped(table.title, breaks=True)}}}\label{{{label}}}"
    if _lines(table, texts, widths) > _LONG:
        lines = [
            rf"{{{size}\setlength{{\tabcolsep}}{{4pt}}",
            rf"\begin{{longtable}}{{{form}}}", caption + r"\\", r"\toprule", head, r"\midrule",
            r"\endfirsthead", r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule",
            r"\endfoot", *body, r"\end{longtable}}", under,
        ]  # fmt: skip
    else:
        is_wide = sum({**lengths, **widths}.values()) + 2 * len(lengths) > line
        place = "sidewaystable" if is_wide else "table"
        lines = [
            rf"\begin{{{place}}}[htbp]",
            rf"\centering{size}\setlength{{\tabcolsep}}{{4pt}}", caption,
            r"\resizebox{\linewidth}{!}{%" if is_wide else "",
            rf"\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}" + "}" * is_wide, under, rf"\end{{{place}}}",
        ]  # fmt: skip
    return "\n".join(line for line in lines if line) + "\n"


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


def _size(lengths: dict[str, int]) -> tuple[str, int]:
    """Return the size of type that a table needs, and the letters of its lines."""
    needed = sum(lengths.values())
    fits = [size for size, line in _SIZES.items() if needed <= _CROWDED * line]
    size = fits[0] if fits else list(_SIZES)[-1]
    return size, _SIZES[size]


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


def as_document(report: Report, stamp: str) -> str:
    """Return a document with every table and figure of a report; it compiles with pdflatex.

    Tables are read from ``tables/NAME.tex``, figures from ``figures/NAME.pdf``.
    """
    parts = [stamp, _PREAMBLE, rf"\title{{{escaped(TITLE)}}}\author{{}}\date{{}}",
             r"\begin{document}\maketitle", *(escaped(text) for text in report.introduction),
             *map(_section, report.sections)]  # fmt: skip
    if report.protocols:
        parts.append(r"\section*{Protocols in full}")
        parts += [
            rf"\par\noindent\textbf{{{escaped(spec, breaks=True)}}}: {escaped(told, breaks=True)}"
            for spec, told in report.protocols.items()
        ]
    if report.origins:
        items = "\n".join(rf"\item {escaped(origin, breaks=True)}" for origin in report.origins)
        parts.append(
            "\\section*{Machines and code}\n\\begin{itemize}\n" + items + "\n\\end{itemize}"
        )
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def _section(section: Section) -> str:
    parts = [rf"\section*{{{escaped(section.title)}}}", *map(escaped, section.paragraphs)]
    parts += [rf"\input{{tables/{table.name}}}" for table in section.tables]
    for figure in section.figures:
        parts.append(
            "\\begin{figure}[htbp]\n\\centering"
            f"\\includegraphics[width=0.8\\textwidth]{{figures/{figure.name}}}\n"
            f"\\caption{{{escaped(figure.caption, breaks=True)}}}\\label{{fig:{figure.name}}}\n"
            "\\end{figure}"
        )
    return "\n\n".join([*parts, r"\clearpage"])


_PREAMBLE = r"""\documentclass[10pt]{article}
\ifdefined\pdftrailerid\pdftrailerid{}\fi
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{array,booktabs,graphicx,longtable,rotating}
\input{bench-macros}
\sloppy"""


def as_macros(tables: Sequence[Table]) -> str:
    r"""Return the definitions of one macro for each number of these tables.

    ``\bench{adq}{10}{acc}`` is the accuracy of ``adq`` at 10 %; ``acc-pm`` is half of its
    interval and ``acc-runs`` the number of values in it. Where there are several settings, the
    one that is meant is named: ``\bench[digits-resnet8-smoke]{adq}{10}{acc}``, or once by
    ``\benchsetting{digits-resnet8-smoke}``. What is not there is a LaTeX error.
    """
    words = _words(list(dict.fromkeys(key for table in tables for key in table.keys)))
    numbers: dict[tuple[str, ...], str] = {}
    for table in tables:
        for key, row in zip(table.keys, table.rows, strict=False):
            for column in table.columns:
                if column.word:
                    for word, text in _numbers(column, row.get(column.key)):
                        numbers[*words[key], word] = text
    scopes = sorted({key[0] for key in numbers})
    lines = [_MACROS.replace("SETTINGS", ", ".join(scopes) or "none")]
    lines += [
        rf"\bench@define{{{'}{'.join(key)}}}{{{escaped(text)}}}" for key, text in numbers.items()
    ]
    if len(scopes) == 1:
        lines.append(rf"\benchsetting{{{scopes[0]}}}")
    return "\n".join([*lines, r"\makeatother"]) + "\n"


def _numbers(column: Column, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    if not isinstance(value, Estimate):
        return [(column.word, column.show(value))]
    found = [(column.word, column.show(Estimate(value.mean, None, value.n)))]
    if value.half_width is not None:
        found.append((f"{column.word}-pm", column.show(value).rpartition(" ± ")[2]))
    return [*found, (f"{column.word}-runs", str(value.n))]


def _words(keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return what each key is called in macros; no two are called the same."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    taken: set[tuple[str, ...]] = set()
    for key in keys:
        scope, name, *rest = map(_word, key)
        words, number = (scope, name, *rest), 1
        while words in taken:
            number += 1
            words = (scope, f"{name}-{number}", *rest)
        taken.add(words)
        found[key] = words
    return found


def _word(text: str) -> str:
    """Return a text that may stand in a macro's argument, and means the same there."""
    plain = text.encode("ascii", "replace").decode()
    return re.sub(r"\s*[\\{}%#$&~^_\"?]|\s+", "-", plain)


_MACROS = r"""% One macro a number, of the settings: SETTINGS.
% \bench{METHOD}{RATIO}{WORD} or \bench[SETTING]{METHOD}{RATIO}{WORD}; \benchsetting{SETTING}
% says which is meant without one.
% Words: acc, acc-pm (half of the 95 % interval; -pm for each that has one), acc-runs,
% vs-random, best-epoch, n, images,
% failed, bytes, steps, selection, training, testing, total, speed, of-peak, memory, gpu-memory.
% Characters of names that LaTeX minds, such as _ and #, are hyphens here.
\makeatletter
\newcommand{\bench@define}[5]{\expandafter\gdef\csname bench/#1/#2/#3/#4\endcsname{#5}}
\newcommand{\bench@setting}{}
\newcommand{\benchsetting}[1]{\gdef\bench@setting{#1}}
\newcommand{\bench}[4][\bench@setting]{%
  \ifcsname bench/#1/#2/#3/#4\endcsname\csname bench/#1/#2/#3/#4\endcsname
  \else\@latex@error{bench: no number '#1/#2/#3/#4'; see bench-macros.tex}\@eha\textbf{??}\fi}"""
