"""The digest of the code that a job runs: ours, and that of plugins."""

from __future__ import annotations

from collections.abc import Iterable

from bench.identity import digest
from bench.provenance import module_facts, rooms_digest, source_digest


def code_digest(methods: Iterable[type]) -> str:
    """Return the digest of bench, methods and slurm, and of each module of a method."""
    modules = sorted(sorted(module_facts(method).items()) for method in methods)
    return digest([source_digest(), rooms_digest("slurm"), modules])
