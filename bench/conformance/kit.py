"""The kit: which methods are checked with which parameters, and the verdicts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench.conformance.lab import DoesNotApplyError, Lab, NotMetError
from bench.conformance.properties import PROPERTIES
from bench.contract import METHODS, Method, quickened
from bench.specs import expand, split_list


class Verdict(Enum):
    """What became of a property."""

    PASS = "pass"
    FAIL = "FAIL"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Finding:
    """One property's verdict and what was seen, in one line."""

    name: str
    about: str
    verdict: Verdict
    told: str

    def to_json(self) -> dict[str, str]:
        """Return the finding as JSON values."""
        return {**vars(self), "verdict": self.verdict.value}


@dataclass(frozen=True)
class Subject:
    """A method as it was asked for, and as it is checked."""

    asked: str
    method: Method

    @property
    def words(self) -> str:
        """The method for people, e.g. ``dm, checked as dm[iterations=20]``."""
        is_as_asked = self.method.spec == self.asked
        checked = self.method.called
        return checked if is_as_asked else f"{self.asked}, checked as {checked}"


def subjects(text: str) -> list[Subject]:
    """Return the methods that a comma list of specs names.

    A slow method may declare ``quick``, values of parameters for a check; what the user typed
    wins over them.

    Raises
    ------
    UsageError
        When a name, a parameter or a value is not known or not allowed.
    """
    found: dict[str, Subject] = {}
    for item in split_list(text):
        for spec in expand(item):
            asked = METHODS.get(spec.name).from_parameters(dict(spec.parameters))
            found[asked.spec] = Subject(asked.spec, quickened(spec))
    return list(found.values())


def check(method: Method) -> Iterator[Finding]:
    """Yield the findings on a method, property by property, as they are made.

    Everything runs on one CPU device, in a temporary folder, on the kit's own data.

    Raises
    ------
    UsageError
        When the method refuses ordinary data, for example because pretrained weights are missing.
    """
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        lab = Lab(method, Path(folder))
        for one in PROPERTIES:
            try:
                verdict, told = Verdict.PASS, one.judge(lab)
            except NotMetError as error:
                verdict, told = Verdict.FAIL, str(error)
            except DoesNotApplyError as error:
                verdict, told = Verdict.NOT_APPLICABLE, str(error)
            yield Finding(one.name, one.about, verdict, told)
