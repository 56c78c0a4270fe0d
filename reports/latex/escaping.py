"""Texts for LaTeX: special characters do no harm."""

from __future__ import annotations

import re

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
