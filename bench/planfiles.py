"""Files of plans: what cells share is written once, so that 10,000 of them are read at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import DamagedFileError
from bench.identity import IDENTITY_VERSION, cell_id
from bench.storage import read_json

SCHEMA = 2
PARTS = ("dataset", "method", "budget", "model", "protocol")
_SEEDS = ("selection_seed", "training_seed")

Row = tuple[str, Mapping[str, str], int, int]
"""A cell's id, the canonical JSON of its parts, and its seeds of selection and of training."""


def to_json(plan: str, rows: Iterable[Row]) -> dict[str, Any]:
    """Return the content of a plan's file."""
    parts: dict[str, dict[str, int]] = {part: {} for part in PARTS}
    cells = [
        [name, *(parts[part].setdefault(texts[part], len(parts[part])) for part in PARTS), *seeds]
        for name, texts, *seeds in rows
    ]
    return {
        "schema": SCHEMA,
        "id": plan,
        "identity_version": IDENTITY_VERSION,
        "parts": {part: [json.loads(text) for text in texts] for part, texts in parts.items()},
        "cells": cells,
    }


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the identities of a plan's file; a DamagedFileError names it."""
    content = read_json(path)
    try:
        return identities(content)
    except DamagedFileError as error:
        raise DamagedFileError(f"{path} {error}") from None


def identities(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the identity of each cell of a plan by its id, in the plan's order.

    Cells share the objects of their parts: do not change them.

    Raises
    ------
    DamagedFileError
        When this is no plan, or one of a newer bench.
    """
    try:
        if content["schema"] == 1:
            return {cell_id(identity): identity for identity in content["cells"]}
        if content["schema"] != SCHEMA:
            raise DamagedFileError(f"is of a newer bench (schema {content['schema']}): update it")
        version, parts = content["identity_version"], content["parts"]
        return {
            name: {
                "identity_version": version,
                **{part: parts[part][n] for part, n in zip(PARTS, numbers, strict=False)},
                **dict(zip(_SEEDS, numbers[len(PARTS) :], strict=True)),
            }
            for name, *numbers in content["cells"]
        }
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DamagedFileError(f"is no plan ({type(error).__name__}: {error})") from None
