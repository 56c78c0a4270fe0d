"""Published numbers as data, read from ``reports/published/*.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from bench.errors import UsageError, unknown
from reports.copies import COPIES, PUBLISHED

NOT_PUBLISHED = "not published"
FULL = "full"
LARGEST_MARGIN = 1.0
"""Points of accuracy: half of the smallest gain over DQ that ADQ's Table 1 claims."""
NO_NUMBER_MARGIN = 0.5
"""Points of accuracy: a gain below this does not count where a claim has no number."""
FACTOR = 2.0
"""By what a ratio of times may differ, where the claim does not say."""

Metric = Literal["accuracy", "selection time", "other"]
Compare = Literal["value", "difference", "ratio", "no loss"]
_METRICS: tuple[Metric, ...] = ("accuracy", "selection time", "other")
_COMPARISONS: tuple[Compare, ...] = ("value", "difference", "ratio", "no loss")
_DIRECTIONS = ("above", "below", "")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published number, or one published comparison without a number.

    Parameters
    ----------
    id : str
        Names it; made of the source, the place and what it is of.
    source, paper, address, read : str
        Who says it, in which work, where to find that, and how it was read for this.
    third_party : bool
        True where the number is known from others than the authors.
    where : str
        The table, figure or passage.
    metric : {"accuracy", "selection time", "other"}
        Top-1 in percent; seconds of making the compressed set; or what bench does not measure.
    compare : {"value", "difference", "ratio", "no loss"}
        What the number is: that of the method; the method minus ``than``; the method in percent
        of ``than``; or the word that it is no worse than ``than``.
    methods : tuple of str
        The method as bench names it; more than one where several editions may be meant.
    than : str
        What it is compared with. For a ``value`` it only gives the direction.
    direction : {"above", "below", ""}
        On which side of ``than`` the claim puts the method; empty: on neither.
    dataset : str
    models : tuple of str
    ratios : tuple of str
        In percent, as ``--ratios``. Several models or ratios: the claim is of their mean. No
        ratio: it is not stated, and any will do.
    value : Decimal or None
        As printed; None where no number is given.
    margin, factor : float or None
        How far ours may be away and still be the same: in points, or as a factor of a ratio of
        times. None: see :attr:`tolerance`.
    protocol : str
        As stated.
    same_protocols : tuple of str
        Protocols of bench that are the stated one as far as it is stated.
    stand_ins : tuple of str
        Smaller models on which the direction may be tested.
    differs : tuple of str
        What keeps every run of bench from being the published one; the direction can be tested.
    untestable : str
        Why no run of bench can say anything of it; empty where one can.
    error_bar : str
        As printed, or "not published".
    runs : int or None
        As stated; None where it is not.
    note : str
        What else is to be known.
    """

    id: str
    source: str
    paper: str
    address: str
    read: str
    third_party: bool
    where: str
    metric: Metric
    compare: Compare
    methods: tuple[str, ...]
    than: str = ""
    direction: str = "above"
    dataset: str
    models: tuple[str, ...]
    ratios: tuple[str, ...]
    value: Decimal | None = None
    margin: float | None = None
    factor: float | None = None
    protocol: str
    same_protocols: tuple[str, ...] = ()
    stand_ins: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    untestable: str = ""
    error_bar: str
    runs: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        self._require("metric", self.metric, _METRICS)
        self._require("compare", self.compare, _COMPARISONS)
        self._require("direction", self.direction, _DIRECTIONS)
        problem = self._problem()
        if problem:
            raise UsageError(f"claim {self.id}: {problem}")

    def _problem(self) -> str:
        if not self.methods:
            return "no method. Give methods"
        if self.compare != "value" and not self.than:
            return f"compare={self.compare} needs another method. Give than"
        if self.compare == "value" and self.value is None:
            return "a value without a number. Give value, or compare"
        if self.compare == "no loss" and self.value is not None:
            return "no loss has no number. Leave out value"
        if self.metric == "selection time" and self.compare != "ratio":
            return "seconds differ between machines. Give compare = ratio"
        if not self.ratios and self.metric == "accuracy" and not self.untestable:
            return "no ratio. Give ratios, or untestable"
        bad_margin = self.margin is not None and self.margin <= 0
        if bad_margin or (self.factor is not None and self.factor <= 1):
            return f"margin={self.margin}, factor={self.factor}. Give a margin > 0 or a factor > 1"
        return ""

    def _require(self, key: str, value: str, allowed: Sequence[str]) -> None:
        if value not in allowed:
            raise unknown(f"{key} of claim {self.id}", value, allowed)

    @property
    def text(self) -> str:
        """What is claimed, of which data, model and ratio, in words."""
        what = {
            "value": self.methods[0],
            "difference": f"{self.methods[0]} − {self.than}",
            "ratio": f"{self.methods[0]} in % of {self.than}",
            "no loss": f"{self.methods[0]} no worse than {self.than}",
        }[self.compare]
        ratio = "/".join(self.ratios) + " %" if self.ratios else "ratio not stated"
        of = [self.metric if self.metric == "selection time" else "", self.dataset]
        model = "mean of " + "/".join(self.models) if len(self.models) > 1 else "".join(self.models)
        return ", ".join(part for part in (what, *of, model, ratio) if part)

    @property
    def published(self) -> str:
        """The number as printed, with its error bar."""
        if self.value is None:
            return "no loss" if self.compare == "no loss" else NOT_PUBLISHED
        sign = "+" if self.compare == "difference" else ""
        bar = "" if self.error_bar == NOT_PUBLISHED else f" ± {self.error_bar}"
        unit = " %" if self.compare == "ratio" else ""
        return f"{self.value:{sign}}{bar}{unit}"

    @property
    def tolerance(self) -> tuple[float, float]:
        """How far ours minus the published number may lie below and above 0.

        A difference may be off by half of itself and at most by a point, so that none at all is
        never the same as what is claimed; ratios of times by a factor of 2.
        """
        value = None if self.value is None else float(self.value)
        if self.metric == "selection time" and value is not None:
            factor = self.factor or FACTOR
            return value / factor - value, value * factor - value
        margin = self.margin
        if margin is None:
            margin = LARGEST_MARGIN if value is not None else NO_NUMBER_MARGIN
            if self.compare == "difference" and value:
                margin = min(margin, abs(value) / 2)
        return -margin, margin


def read_claims(paths: Iterable[Path] | None = None) -> list[Claim]:
    """Return the claims of these files, or all that are shipped.

    A file has a ``[source]`` and any number of ``[[group]]``; what a group says holds for all of
    its ``claims``, each of which may say otherwise. ``values`` are one claim for each of the
    ``ratios``; a ``value`` is of all of them together.

    Raises
    ------
    UsageError
        For a file that cannot be read or that says something unknown.
    """
    if paths is None:
        paths = sorted(path for path in PUBLISHED.glob("*.toml") if path.name != COPIES)
    claims = [claim for path in paths for claim in _claims_of(path)]
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            raise UsageError(f"claim {claim.id} is there twice. Keep one, or name another place")
        seen.add(claim.id)
    return claims


_LISTS = ("methods", "models", "ratios", "same_protocols", "stand_ins", "differs")
_NUMBERS = ("margin", "factor")
_SOURCE = ("id", "name", "paper", "address", "read", "third_party")


def _claims_of(path: Path) -> list[Claim]:
    content = _toml(path)
    try:
        source = {key: content["source"][key] for key in _SOURCE}
        groups = content["group"]
    except KeyError as error:
        raise UsageError(f"{path.name} lacks {error}. Give a [source] and [[group]]") from None
    name = source.pop("id")
    source["source"] = source.pop("name")
    return [
        _claim({**source, **single}, name, path)
        for group in groups
        for claim in group.pop("claims", [])
        for single in _singles({**group, **claim}, path)
    ]


def _singles(given: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """Return the claims of one line: one for each of its values."""
    single = dict(given)
    values = single.pop("values", None)
    if values is None:
        return [single]
    ratios = single.get("ratios", [])
    if len(values) != len(ratios):
        raise UsageError(f"{path.name}: {len(values)} values for {len(ratios)} ratios: {values}")
    return [{**single, "value": v, "ratios": [r]} for v, r in zip(values, ratios, strict=True)]


def _claim(given: Mapping[str, Any], source: str, path: Path) -> Claim:
    known = {field.name for field in fields(Claim)} - {"id"}
    for key in given:
        if key not in known:
            raise unknown(f"key in {path.name}", key, known)
    values: dict[str, Any] = {
        key: tuple(value) if key in _LISTS else float(value) if key in _NUMBERS else value
        for key, value in given.items()
    }
    if "value" in values:
        values["value"] = Decimal(values["value"])
    parts = [source, values.get("where"), values.get("compare"), values.get("metric")]
    parts += ["+".join(values.get(key, ())) for key in ("methods", "models", "ratios")]
    parts += [values.get("than"), values.get("dataset")]
    identifier = "/".join(str(part) for part in parts if part)
    try:
        return Claim(id=identifier, **values)
    except TypeError as error:
        raise UsageError(f"{path.name}: a claim says too little: {error}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file, parse_float=Decimal)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no valid TOML: {error}") from None
