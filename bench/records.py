"""Records as files: one schema; those of an older one are upgraded, of a newer one refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.errors import DamagedFileError, StorageError
from bench.storage import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECORD_SCHEMA = 2
"""Raised when readers must know of a change; :func:`upgraded` then learns the way from before."""

_FIRST: Mapping[str, Mapping[str, Any]] = {
    "compressed": {"content": "selected", "labels": "hard", "weighted": False},
    "model": dict.fromkeys(("operations_per_image", "uses_pretrained_weights", "our_choice")),
    "cost": dict.fromkeys(
        (
            "training_operations",
            "operations_per_s",
            "share_of_peak",
            "calibration",
            "device_peak_memory_bytes",
        )
    ),
}
"""What some records of schema 1 do not tell: the only kind that there was, or None (not known)."""


def read_record(path: Path) -> dict[str, Any]:
    """Read a record's or a failure's file; the file's name must be the id that it tells.

    Returns
    -------
    dict
        The content in the present schema, whichever it was written in.

    Raises
    ------
    DamagedFileError
        When the file is not whole, or tells of another cell.
    StorageError
        When a newer bench wrote it.
    """
    content = read_named(path)
    try:
        return upgraded(content)
    except StorageError as error:
        raise StorageError(f"{path} {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(
            f"{path} is damaged: it is no record ({type(error).__name__}: {error})"
        ) from None


def read_named(path: Path) -> dict[str, Any]:
    """Read a JSON file that tells its own name as ``id``; raise a DamagedFileError otherwise."""
    content = read_json(path)
    if content.get("id") != path.stem:
        raise DamagedFileError(f"{path} is damaged: it tells of {content.get('id')}")
    return content


def refuse_newer(schema: int) -> None:
    """Raise a StorageError for a schema that only a newer bench can read."""
    if schema > RECORD_SCHEMA:
        raise StorageError(
            f"was written by a newer bench (schema {schema}, this one reads {RECORD_SCHEMA}). "
            "Update bench or name another folder"
        )


def upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """Return a record or failure in the present schema.

    What schema 1 did not record and nobody can know is None. The id and the cell's identity
    version stay as they were written; where this bench gives the cell another id, it computes it
    again.
    """
    schema = content["schema"]
    refuse_newer(schema)
    return content if schema == RECORD_SCHEMA else _from_first(content)


def _from_first(content: dict[str, Any]) -> dict[str, Any]:
    """Return a record of schema 1 as one of schema 2.

    The first ones knew budgets of images only, selections with hard labels, and methods of one
    edition, none of them a reconstruction; they do not speak of operations.
    """
    cell = content["cell"]
    filled = {
        section: {**facts, **content[section]}
        for section, facts in _FIRST.items()
        if section in content
    }
    upgraded = {
        **content,
        **filled,
        "schema": RECORD_SCHEMA,
        "written_in_schema": content["schema"],
        "cell": {**cell, "budget": {"of": "images", **cell["budget"]}},
        "method": {**_first_facts(content), **content.get("method", {})},
    }
    upgraded.pop("seeded", None)
    return upgraded


def _first_facts(content: Mapping[str, Any]) -> dict[str, Any]:
    method = content["cell"]["method"]
    return {
        **dict.fromkeys(("title", "paper", "year", "kind", "released")),
        "edition": method.get("parameters", {}).get("edition", "paper"),
        "reconstruction": False,
        # The very first records did not tell; the only method of then without a seed is full.
        "seeded": content.get("seeded", method["name"] != "full"),
        "budgeted": method["name"] != "full",
        "keeps": "images",
    }
