"""Versions of components that results of one name come from, and which of them are older ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.models import MODELS
from bench.protocols import PROTOCOLS

if TYPE_CHECKING:
    from bench.registry import Registry
    from reports.reading import Row

_OF_A_SETTING = ("model", "protocol")


def versions(cell: Mapping[str, Any]) -> dict[str, int]:
    """Return the versions of a cell's method, model and protocol, as a row has them."""
    kinds = ("method", *_OF_A_SETTING)
    return {f"{kind}_version": int(cell[kind].get("version", 1)) for kind in kinds}


def tell_older(rows: Sequence[Row]) -> None:
    """Set ``older`` of each row: words for a model or protocol of which there are newer versions.

    A spec says nothing of the version of the code that gave it its meaning: tables of two
    versions under one title would look like results that contradict each other.
    """
    newest: dict[tuple[str, str], int] = {}
    for row in rows:
        for kind in _OF_A_SETTING:
            key, version = (kind, _name(row[kind])), row[f"{kind}_version"]
            newest[key] = max(version, newest.get(key, version))
    for row in rows:
        told = [
            f"{kind} version {row[f'{kind}_version']}"
            for kind in _OF_A_SETTING
            if row[f"{kind}_version"] < newest[kind, _name(row[kind])]
        ]
        row["older"] = f" ({', '.join(told)})" if told else ""


def outdated_notes(rows: Sequence[Row]) -> list[str]:
    """Return a note for each model or protocol of which a newer version is installed here."""
    found = {
        (kind, _name(row[kind]), row[f"{kind}_version"]) for row in rows for kind in _OF_A_SETTING
    }
    return [
        f"Results of version {version} of the {kind} {name}, and {installed} is installed: the "
        "same command computes them anew, and the two are never compared."
        for kind, name, version in sorted(found)
        if version < (installed := _installed(kind, name))
    ]


def _installed(kind: str, name: str) -> int:
    """Return the version of a component in this installation; 0 for a name that it has not."""
    registry: Registry[Any] = MODELS if kind == "model" else PROTOCOLS
    try:
        return int(registry.get(name).version)
    except UsageError:
        return 0


def _name(spec: str) -> str:
    return spec.partition("[")[0]
