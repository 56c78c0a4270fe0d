"""Folders of images that are known to hold a published data set, not byte by byte."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PUBLISHED = Path(__file__).parent / "published"
COPIES = "copies.toml"


@dataclass(frozen=True)
class Copy:
    """A folder of images that holds a published data set, not byte by byte."""

    of: str
    label: str
    fingerprint: str
    datasets: tuple[str, ...]
    address: str
    why: str


@cache
def read_copies(path: Path = PUBLISHED / COPIES) -> Sequence[Copy]:
    """Return the copies of published data sets that are known by their fingerprints."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["copy"]
    return [Copy(**{**entry, "datasets": tuple(entry["datasets"])}) for entry in entries]


def dataset_label(dataset: str, fingerprint: str) -> str:
    """Return what a data set is called: its spec, or what it is known to be a copy of."""
    for copy in read_copies():
        if copy.fingerprint == fingerprint and dataset in copy.datasets:
            return copy.label
    return dataset
