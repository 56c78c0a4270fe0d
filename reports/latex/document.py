"""A report as one LaTeX document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.content import TITLE
from reports.latex.escaping import escaped
from reports.latex.tables import is_sideways

if TYPE_CHECKING:
    from reports.content import Figure, Report, Section


def as_document(report: Report, stamp: str) -> str:
    """Return a document with every table and figure of a report; it compiles with pdflatex.

    Tables are read from ``tables/NAME.tex``, figures from ``figures/NAME.pdf``. All stand where
    they are told of: nothing floats, and no heading stands alone.
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
    tables = section.pages
    begins_sideways = not section.paragraphs and bool(tables) and is_sideways(tables[0])
    heading = "benchsideways" if begins_sideways else "section*"
    parts = [rf"\{heading}{{{escaped(section.title)}}}", *map(escaped, section.paragraphs)]
    parts += [rf"\input{{tables/{table.name}}}" for table in tables]
    return "\n\n".join([*parts, *map(_figure, section.figures)])


def _figure(figure: Figure) -> str:
    return (
        "\\begin{figure}\n\\centering\\includegraphics[width=\\linewidth,"
        f"height=0.4\\textheight,keepaspectratio]{{figures/{figure.name}}}\n"
        f"\\caption{{{escaped(figure.caption, breaks=True)}}}\\label{{fig:{figure.name}}}\n"
        "\\end{figure}"
    )


_PREAMBLE = r"""\documentclass[10pt]{article}
\ifdefined\pdftrailerid\pdftrailerid{}\fi
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{array,booktabs,graphicx,longtable,pdflscape,rotating}
\input{bench-macros}
\sloppy\raggedbottom
\makeatletter
% Tables and figures stand where they are; sideways ones on pages of their own, turned for screens.
\newenvironment{benchhere}[1]{\par\addvspace{\bigskipamount}\noindent
  \begin{minipage}{\linewidth}\def\@captype{#1}}{\end{minipage}\par\addvspace{\bigskipamount}}
\renewenvironment{table}[1][]{\begin{benchhere}{table}}{\end{benchhere}}
\renewenvironment{figure}[1][]{\begin{benchhere}{figure}}{\end{benchhere}}
\renewenvironment{sidewaystable}[1][]{\begin{landscape}\begin{benchhere}{table}}%
  {\end{benchhere}\end{landscape}}
% The heading of what begins sideways stands on that page.
\newcommand{\benchsideways}[1]{\gdef\benchheading{\section*{#1}\gdef\benchheading{}}}
\newcommand{\benchheading}{}
\g@addto@macro\landscape{\benchheading}
\makeatother"""
