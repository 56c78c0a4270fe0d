"""The conformance kit: what every method promises, tried on a small data set of the kit's own."""

from __future__ import annotations

from bench.conformance.kit import Finding, Subject, Verdict, check, subjects

__all__ = ["Finding", "Subject", "Verdict", "check", "subjects"]
