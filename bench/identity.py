"""Identities and seeds: hashes of canonical JSON, the same on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

IDENTITY_VERSION = 2
"""Part of every id: raised when the rule that makes ids changes."""


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, size: int = 10) -> str:
    """Return the hexadecimal blake2b digest of a value's canonical JSON.

    Parameters
    ----------
    value : JSON value
        What is identified.
    size : int
        Bytes of the digest; 10 bytes keep the chance of one collision in a million ids
        below 1e-12.
    """
    return text_digest(canonical_json(value), size)


def identifier(kind: str, identity: Any) -> str:
    """Return the id of a cell, plan or artefact: kind, rule's version, digest."""
    return identifier_of_text(kind, canonical_json(identity))


def identifier_of_text(kind: str, text: str) -> str:
    """Return the id of an identity that is given as its canonical JSON."""
    digested = text_digest(f'[{IDENTITY_VERSION},"{kind}",{text}]', size=10)
    return f"{kind}-{IDENTITY_VERSION}-{digested}"


def cell_id(identity: Mapping[str, Any]) -> str:
    """Return the id of a cell's identity, taken from a plan or from a record."""
    return identifier("cell", identity)


def text_digest(text: str, size: int) -> str:
    """Return the hexadecimal blake2b digest of a text, of ``size`` bytes."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def derive_seed(seed: int, *names: str | int) -> int:
    """Return the seed of one role: a hash of the seed and the role's names, in [0, 2**63).

    Two roles never share a stream, and adding a role changes no other.
    """
    return int(digest(["seed", seed, *names], size=8), 16) >> 1
