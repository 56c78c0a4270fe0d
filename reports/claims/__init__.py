"""The claims ledger: published numbers, and what our records say of each."""

from reports.claims.claim import Claim, read_claims
from reports.claims.judging import Verdict
from reports.claims.table import Finding, findings, ledger

__all__ = [
    "Claim",
    "Finding",
    "Verdict",
    "findings",
    "ledger",
    "read_claims",
]
