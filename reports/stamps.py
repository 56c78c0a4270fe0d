"""What a report is made from, as one digest: records, what lies beside them, what is installed."""

from __future__ import annotations

from pathlib import Path

from bench.identity import digest
from bench.results import ACCOUNTS, CONFLICTS, PICTURES, RELEASED, STUDIES
from bench.storage import file_checksum
from reports.collection import Collection
from reports.copies import PUBLISHED
from reports.versions import outdated_notes

_FORMAT = 14
"""Raised when the same records give another report."""
_FILES = (
    f"{PICTURES}/*.jpg",
    f"{STUDIES}/*.json",
    f"{ACCOUNTS}/*.json",
    f"{RELEASED}/*/[!.]*",
)
"""What reports read beside records and selections, within a results folder."""


def stamp_of(results: Collection, folder: Path | None = None, figures: bool = True) -> str:
    """Return the digest of what a report is made from.

    Parameters
    ----------
    results : Collection
        Made from the records and the failures.
    folder : Path, optional
        The results folder, for what is of no one cell.
    figures : bool
        Whether the report has figures.
    """
    published = [_checksum(path) for path in sorted(PUBLISHED.glob("*.toml"))]
    installed = [_FORMAT, published, outdated_notes(results.rows)]
    beside = _beside(results, folder) if folder else []
    return digest([installed, results.digest, figures, beside])


def _beside(results: Collection, folder: Path) -> list[object]:
    from bench.artefacts import ArtefactStore

    files = sorted({path for pattern in _FILES for path in folder.glob(pattern)})
    selections = {row["selection"] for row in results.rows}
    stored = ArtefactStore(folder / "artefacts", warn=lambda message: None).ids()
    return [
        [[path.relative_to(folder).as_posix(), _checksum(path)] for path in files],
        sorted(path.name for path in (folder / CONFLICTS).glob("cell-*")),
        sorted(selections & stored),
    ]


def _checksum(path: Path) -> str:
    try:
        return file_checksum(path)
    except OSError:
        return ""
