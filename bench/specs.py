"""Reading the names that users type: ``dq,adq[alpha=[0,0.5],scores=rs]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = r"[^\[\]=,\s]+"
_SPEC = re.compile(rf"(?P<name>{_NAME})\s*(?:\[(?P<body>.*)\])?", re.DOTALL)


@dataclass(frozen=True)
class Spec:
    """A component's name with the parameter texts that were given for it."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        told = ",".join(f"{parameter}={value}" for parameter, value in self.parameters)
        return f"{self.name}[{told}]" if told else self.name


def is_name(text: str) -> bool:
    """Return whether a component of this name could be typed."""
    return re.fullmatch(_NAME, text) is not None


def split_list(text: str) -> list[str]:
    """Split at the commas that stand outside of brackets.

    >>> split_list("dq,adq[alpha=0.7,scores=rs]")
    ['dq', 'adq[alpha=0.7,scores=rs]']
    """
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    if depth != 0:
        raise UsageError(f"brackets do not match in '{text}'. Write for example 'adq[alpha=0.7]'")
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def expand(text: str) -> Iterator[Spec]:
    """Yield every combination that one spec names; a bracketed value is a list.

    >>> [spec.parameters for spec in expand("adq[alpha=[0,1]]")]
    [(('alpha', '0'),), (('alpha', '1'),)]
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"cannot read '{text}'. Write name or 'name[parameter=value,...]'")
    choices: dict[str, list[str]] = {}
    for item in split_list(match["body"] or ""):
        key, equals, value = item.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key or not value:
            several = f", and several values as {[*choices][-1]}=[a,b]" if choices else ""
            raise UsageError(f"cannot read '{item}' in '{text}'. Write parameter=value{several}")
        if key in choices:
            raise UsageError(f"parameter '{key}' is given twice in '{text}'. Give it once")
        listed = value.startswith("[") and value.endswith("]")
        choices[key] = split_list(value[1:-1]) if listed else [value]
        if not choices[key]:
            raise UsageError(f"parameter '{key}' has an empty list in '{text}'. Give values")
    for values in product(*choices.values()):
        yield Spec(match["name"], tuple(zip(choices, values, strict=True)))
