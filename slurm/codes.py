"""The digest of the code that computes a plan: ours, and that of plugins."""

from __future__ import annotations

from collections.abc import Iterable

from bench.identity import digest
from bench.provenance import module_facts, source_digest


def code_digest(methods: Iterable[type]) -> str:
    """Return the digest of bench, of methods, and of each module that a method comes from."""
    modules = sorted(sorted(module_facts(method).items()) for method in methods)
    return digest([source_digest(), modules])
