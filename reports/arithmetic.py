"""The papers' own arithmetic: whether printed averages and differences follow from the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from itertools import product

from reports.claims import Claim, read_claims
from reports.tables import Column, Table

_HALF = Decimal("0.5")
_SHOWN = Decimal("0.01")


class Agreement(StrEnum):
    """How a printed number relates to what follows from the numbers printed beside it."""

    EXACT = "right"
    ROUNDING = "right before rounding"
    """Other than what follows, but some unrounded numbers would give it."""
    OFF = "does not follow"
    """No numbers that round to those printed give it."""


@dataclass(frozen=True)
class Check:
    """A printed number and what follows from others.

    Parameters
    ----------
    what, where : str
        Of what it is said, and in which work and place.
    printed : str
        As printed.
    follows : Decimal
        From the other numbers as they are printed.
    low, high : Decimal
        The range that it has over all numbers that round to those printed.
    agreement : Agreement
    why : str
        From what it follows.
    """

    what: str
    where: str
    printed: str
    follows: Decimal
    low: Decimal
    high: Decimal
    agreement: Agreement
    why: str


@dataclass(frozen=True)
class Statement:
    """A sentence about printed numbers, and whether they bear it out."""

    what: str
    where: str
    holds: bool
    why: str


def checks(claims: Iterable[Claim]) -> list[Check]:
    """Return a check of every printed number that follows from others of the same source.

    Those are differences of two methods whose numbers are printed, and means over several
    architectures or ratios. Inputs come from the same table where it has them.
    """
    claims = list(claims)
    single: dict[_Key, Claim] = {
        (c.source, c.methods[0], c.models, c.ratios, c.where): c
        for c in claims
        if c.compare == "value" and len(c.models) == len(c.ratios) == 1
    }
    means: dict[_Key, Claim] = {
        (c.source, c.methods[0], c.models, c.ratios, c.where): c
        for c in claims
        if c.compare == "value" and len(c.models) > 1
    }
    made = (_check(claim, single, means) for claim in claims if _is_derived(claim))
    return [check for check in made if check is not None]


_Key = tuple[str, str, tuple[str, ...], tuple[str, ...], str]


def _is_derived(claim: Claim) -> bool:
    if claim.metric != "accuracy" or claim.value is None:
        return False
    return claim.compare == "difference" or (
        claim.compare == "value" and max(len(claim.models), len(claim.ratios)) > 1
    )


def _check(claim: Claim, single: Mapping[_Key, Claim], means: Mapping[_Key, Claim]) -> Check | None:
    members = list(product(claim.models, claim.ratios))
    ours = [_input(claim, claim.methods[0], *member, single) for member in members]
    theirs: list[Decimal | None] = [Decimal(0)] * len(members)
    if claim.compare == "difference":
        theirs = [_input(claim, claim.than, *member, single) for member in members]
    known = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if len(known) < len(members) or claim.value is None:
        return None
    follows = sum((a - b for a, b in known), Decimal(0)) / len(known)
    slack = sum(
        (_rounding(a) + (_rounding(b) if claim.compare == "difference" else 0) for a, b in known),
        Decimal(0),
    ) / len(known)
    return Check(
        what=claim.text,
        where=f"{claim.source}, {claim.where}",
        printed=claim.published,
        follows=follows,
        low=follows - slack,
        high=follows + slack,
        agreement=agreement(claim.value, follows, slack),
        why=_why(known, claim.compare == "difference") + _by_means(claim, means),
    )


def agreement(printed: Decimal, follows: Decimal, slack: Decimal) -> Agreement:
    """Return how a printed number relates to what follows from rounded ones.

    Parameters
    ----------
    printed : Decimal
        With the digits that are printed.
    follows : Decimal
        From the other numbers as printed.
    slack : Decimal
        By how much the rounding of those may have moved it, either way.
    """
    exponent = printed.as_tuple().exponent
    assert isinstance(exponent, int)
    if follows.quantize(Decimal(1).scaleb(exponent), ROUND_HALF_UP) == printed:
        return Agreement.EXACT
    if abs(printed - follows) <= slack + _rounding(printed):
        return Agreement.ROUNDING
    return Agreement.OFF


def _input(
    claim: Claim, method: str, model: str, ratio: str, single: Mapping[_Key, Claim]
) -> Decimal | None:
    places = [claim.where, "Table 3" if claim.where.startswith("text, Module") else "Table 1"]
    for where in dict.fromkeys(places):
        found = single.get((claim.source, method, (model,), (ratio,), where))
        if found is not None:
            return found.value
    return None


def _rounding(value: Decimal) -> Decimal:
    """Return half a unit of the last printed digit."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return _HALF.scaleb(exponent)


def _by_means(claim: Claim, means: Mapping[_Key, Claim]) -> str:
    """Return what the printed means of both methods give, where they are printed."""
    ours, theirs = (
        means.get((claim.source, method, claim.models, claim.ratios, claim.where))
        for method in (claim.methods[0], claim.than)
    )
    if claim.compare != "difference" or ours is None or theirs is None:
        return ""
    assert ours.value is not None
    assert theirs.value is not None
    return f"; of the printed means: {ours.value} − {theirs.value} = {ours.value - theirs.value}"


def _why(known: Sequence[tuple[Decimal, Decimal]], is_difference: bool) -> str:
    parts = [f"{a} − {b}" if is_difference else f"{a}" for a, b in known]
    if len(parts) == 1:
        return parts[0]
    if len(parts) > 5:
        return f"the mean of {len(parts)} differences of the table"
    if is_difference:
        parts = [f"{a - b}" for a, b in known]
    return f"({' + '.join(parts)}) / {len(parts)}"


def statements(claims: Iterable[Claim]) -> list[Statement]:
    """Return sentences of ADQ and DM about their own tables, and whether these bear them out.

    A sentence about numbers that are not among the claims is left out.
    """
    claims = list(claims)
    value = {
        (c.source, c.where, c.methods[0], c.models[0], c.ratios[0]): c.value
        for c in claims
        if c.compare == "value" and len(c.models) == len(c.ratios) == 1 and c.value is not None
    }

    def compared(pairs: Iterable[tuple[_Place, _Place]]) -> list[tuple[Decimal, Decimal]] | None:
        places = list(pairs)
        if not all(place in value for pair in places for place in pair):
            return None
        return [(value[first], value[second]) for first, second in places]

    above = compared(
        (("ADQ", "Table 1", "adq", *c), ("ADQ", "Table 1", "dq", *c))
        for c in product(_MODELS, _RATIOS)
    )
    more = compared(
        (
            ("ADQ", "Table 3", "adq[scores=ds]", "resnet18", r),
            ("ADQ", "Table 3", "adq[scores=rs]", "resnet18", r),
        )
        for r in _RATIOS
    )
    same = compared(
        (("ADQ", "Table 1", m, "resnet18", r), ("ADQ", "Table 3", m, "resnet18", r))
        for m in ("dq", "adq")
        for r in _RATIOS
    )
    found = [
        _counted(
            "ADQ consistently outperforms DQ across all five architectures",
            "ADQ, text, Comparisons",
            None if above is None else [a > b for a, b in above],
        ),
        _counted(
            "the improvement of DS is higher than that of RS across all data keep ratios",
            "ADQ, text, Module Cut-off",
            None if more is None else [a > b for a, b in more],
        ),
        _counted(
            "DQ and ADQ of Table 3 are the ResNet-18 rows of Table 1",
            "ADQ, Tables 1 and 3",
            None if same is None else [a == b for a, b in same],
        ),
        _training_images(claims),
        _relative_performance(claims),
    ]
    return [one for one in found if one is not None]


_Place = tuple[str, str, str, str, str]
_RATIOS = ("10", "20", "30")
_MODELS = ("resnet18", "resnet50", "vit", "swin", "convnext")
_IMAGENET_IMAGES = 1_281_167
_PRINTED_IMAGENET_IMAGES = "128,1126"


def _counted(what: str, where: str, places: Sequence[bool] | None) -> Statement | None:
    if places is None:
        return None
    why = f"holds in {sum(places)} of {len(places)} places"
    return Statement(what, where, all(places), why)


def _training_images(claims: Sequence[Claim]) -> Statement | None:
    if all(claim.source != "ADQ" for claim in claims):
        return None
    printed = int(_PRINTED_IMAGENET_IMAGES.replace(",", ""))
    return Statement(
        f"ImageNet-1K comprises {_PRINTED_IMAGENET_IMAGES} samples for training",
        "ADQ, text, Datasets",
        printed == _IMAGENET_IMAGES,
        f"ILSVRC 2012 has {_IMAGENET_IMAGES:,} training images (Russakovsky et al. 2015)",
    )


def _relative_performance(claims: Sequence[Claim]) -> Statement | None:
    """Return whether one accuracy of full data fits all shares of it that DM's readme prints."""
    shares = {c.ratios: c for c in claims if c.source == "DM" and c.compare == "ratio"}
    values = {
        c.ratios: c
        for c in claims
        if c.source == "DM"
        and c.compare == "value"
        and c.methods[-1] == "dm"
        and c.ratios in shares
    }
    if not values:
        return None
    ranges = []
    for ratios, claim in values.items():
        value, share = claim.value, shares[ratios].value
        assert value is not None
        assert share is not None
        ranges.append(
            (
                100 * (value - _rounding(value)) / (share + _rounding(share)),
                100 * (value + _rounding(value)) / (share - _rounding(share)),
            )
        )
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    return Statement(
        f"the {len(ranges)} shares of full accuracy are of one full accuracy",
        "DM, readme, Basic experiments (DM)",
        low <= high,
        f"the full accuracy, which is not printed, would lie in {_two(low)} … {_two(high)}",
    )


def arithmetic_table(claims: Iterable[Claim] | None = None) -> Table:
    """Return the table of the papers' own arithmetic; what does not follow comes first."""
    claims = read_claims() if claims is None else list(claims)
    order = list(Agreement)[::-1]
    found = sorted(checks(claims), key=lambda check: order.index(check.agreement))
    rows: list[dict[str, object]] = [
        {
            "what": check.what,
            "where": check.where,
            "printed": check.printed,
            "follows": check.follows,
            "range": f"{_two(check.low)} … {_two(check.high)}",
            "agreement": check.agreement,
            "why": check.why,
        }
        for check in found
    ]
    rows += [
        {
            "what": one.what,
            "where": one.where,
            "agreement": "right" if one.holds else "wrong",
            "why": one.why,
        }
        for one in statements(claims)
    ]
    right = sum(check.agreement == Agreement.EXACT for check in found)
    notes = [
        f"{right} of {len(found)} printed averages and differences are right to the printed digit.",
        "Follows: computed from the numbers that are printed. Range: over all numbers that round "
        "to those. Right before rounding: not what follows, but within that range. Does not "
        "follow: outside of it.",
    ]
    return Table("The papers' own arithmetic", _COLUMNS, rows, notes, name="arithmetic")


def _two(value: Decimal) -> str:
    return f"{value.quantize(_SHOWN, ROUND_HALF_UP)}"


_COLUMNS = (
    Column("what", "printed number", left=True),
    Column("where", "where", left=True),
    Column("printed", "printed"),
    Column("follows", "follows", _two),
    Column("range", "range"),
    Column("agreement", "finding", left=True),
    Column("why", "from", left=True),
)
