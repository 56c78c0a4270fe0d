"""The claims ledger: published numbers, and what our records say of each."""

from reports.claims.claim import PUBLISHED, Claim, Copy, dataset_label, read_claims, read_copies
from reports.claims.judging import Verdict
from reports.claims.table import Finding, findings, ledger

__all__ = [
    "PUBLISHED",
    "Claim",
    "Copy",
    "Finding",
    "Verdict",
    "dataset_label",
    "findings",
    "ledger",
    "read_claims",
    "read_copies",
]
