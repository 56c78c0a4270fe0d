"""LaTeX: tables (booktabs), a whole document of them, and a macro for each number."""

from reports.latex.document import as_document
from reports.latex.escaping import escaped
from reports.latex.macros import as_macros
from reports.latex.tables import as_latex

__all__ = ["as_document", "as_latex", "as_macros", "escaped"]
