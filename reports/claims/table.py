"""The ledger as a table: a row for each claim and each method that it may mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.claims.claim import Claim
from reports.claims.evidence import Evidence, Index, Row, evidence
from reports.claims.judging import Verdict, judge
from reports.copies import Copy, read_copies
from reports.statistics import Estimate
from reports.tables import Column, Table, number, plus_minus, signed


@dataclass(frozen=True)
class Finding:
    """A claim with its verdict.

    Parameters
    ----------
    claim : Claim
    method : str
        Which of the claim's methods ours is of.
    verdict : Verdict
    why : str
        In a sentence or two.
    ours : Estimate or None
        In the claim's unit, with its 95 % interval; None where there are no records.
    n : int
        Runs behind it, or pairs of runs.
    protocol : str
        Ours; with our model and data where they are not the claim's.
    cells : tuple of str
        The ids of the cells behind it.
    """

    claim: Claim
    method: str
    verdict: Verdict
    why: str
    ours: Estimate | None = None
    n: int = 0
    protocol: str = ""
    cells: tuple[str, ...] = ()


def findings(
    claims: Iterable[Claim], rows: Iterable[Row], copies: Sequence[Copy] | None = None
) -> list[Finding]:
    """Return what records say of claims, in their order.

    A claim that may mean several editions of a method has a finding for each that was run.

    Parameters
    ----------
    rows : iterable of mappings
        As :func:`bench.results.flat` makes them of records.
    copies : sequence of Copy, optional
        Which image folders stand for which data set; those that are shipped when not given.
    """
    index = Index.of(rows, read_copies() if copies is None else copies)
    return [finding for claim in claims for finding in _findings_of(claim, index)]


def _findings_of(claim: Claim, index: Index) -> list[Finding]:
    if claim.untestable:
        why = f"{claim.untestable[:1].upper()}{claim.untestable[1:]}."
        return [Finding(claim, claim.methods[0], Verdict.NOT_TESTABLE, why)]
    found = {method: evidence(claim, method, index) for method in claim.methods}
    tested = [
        _finding(claim, method, one) for method, one in found.items() if isinstance(one, Evidence)
    ]
    if tested:
        return tested
    first = claim.methods[0]
    missing = f"{found[first]}"
    return [Finding(claim, first, Verdict.NOT_RUN, f"{missing[:1].upper()}{missing[1:]}.")]


def _finding(claim: Claim, method: str, found: Evidence) -> Finding:
    verdict, why = judge(claim, found)
    estimate = found.effect.estimate()
    return Finding(claim, method, verdict, why, estimate, estimate.n, found.protocol, found.cells)


def ledger(
    claims: Iterable[Claim], rows: Iterable[Row], copies: Sequence[Copy] | None = None
) -> Table:
    """Return the claims with their verdicts, as :func:`findings` has them.

    A row also has, besides its columns: ``id`` of the claim, ``method``, ``cells`` behind our
    number, ``address``, ``read`` (how the number was read), ``stated`` (the protocol as
    published), ``error_bar``, ``third_party``, ``margin`` (low, high) and ``note``.
    """
    found = findings(claims, rows, copies)
    made = [_row(finding) for finding in found]
    links = {(k, "ours"): finding.cells for k, finding in enumerate(found) if finding.cells}
    return Table(
        "Published numbers and ours", _COLUMNS, made, _notes(found), links=links, name="ledger"
    )


def _row(finding: Finding) -> dict[str, object]:
    claim = finding.claim
    party = " (third party)" if claim.third_party else ""
    return {
        "claim": claim.text.replace(claim.methods[0], finding.method, 1),
        "source": f"{claim.source}, {claim.where}{party}",
        "published": claim.published,
        "ours": finding.ours,
        "n": finding.n or None,
        "protocol": finding.protocol or None,
        "verdict": finding.verdict,
        "why": f"{finding.why} Note: {claim.note}." if claim.note else finding.why,
        "id": claim.id,
        "method": finding.method,
        "cells": list(finding.cells),
        "address": claim.address,
        "read": claim.read,
        "stated": claim.protocol,
        "error_bar": claim.error_bar,
        "third_party": claim.third_party,
        "margin": list(claim.tolerance),
        "note": claim.note,
    }


def _notes(found: Sequence[Finding]) -> list[str]:
    counts = Counter(finding.verdict for finding in found)
    told = ", ".join(f"{verdict} {counts[verdict]}" for verdict in Verdict if counts[verdict])
    return [
        f"Verdicts: {told or 'none'}.",
        "Ours: mean with its 95 % interval over n runs (or pairs of runs with common seeds), last "
        "epoch; accuracies and their differences in points, ratios in %.",
        "Reproduced: two one-sided tests at 5 % show ours within the margin of the published "
        "number. Margins are our choice: 1 point for accuracies (0.5 for full data and for no "
        "loss), at most half of the number for differences without a margin of their own, a factor "
        "for ratios of times. The reason names it.",
        "Shifted: another number, but the claimed direction is shown (without a direction: not "
        "shown to be more than a margin away). Not reproduced: another number, without that.",
        "Not testable: too few seeds to decide, or nothing that bench could run decides it.",
        "Where data, model or protocol are not the published ones, the verdict is on the direction "
        "only: reproduced where it is shown, not reproduced where it is shown to be less than half "
        "a point (for times: the factor).",
        "Published numbers are taken as exact; an error bar stands where one is published. Each "
        "verdict is a test of its own: of 20 true claims, one may come out wrong by chance.",
    ]


def _ours(estimate: Estimate) -> str:
    return f"{signed(estimate.mean).removeprefix('+')}{plus_minus(estimate)}"


_COLUMNS = (
    Column("claim", "claim", left=True),
    Column("source", "source", left=True),
    Column("published", "published"),
    Column("ours", "ours", _ours),
    Column("n", "n", number),
    Column("protocol", "protocol", left=True),
    Column("verdict", "verdict", left=True),
    Column("why", "why", left=True),
)
