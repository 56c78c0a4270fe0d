"""What methods kept for what was asked, in images and in bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reports.papers.layout import Cells
from reports.reading import bytes_note, spends_bytes
from reports.runs import Series, labels
from reports.tables import Column, Table, ascii_name, number, signed


def budget_tables(series: Iterable[Series]) -> list[Table]:
    """Return what is kept for what was asked, in images and in bytes, a table for a data set."""
    found: dict[tuple[str, str], dict[tuple[Any, ...], Series]] = {}
    for one in series:
        place = found.setdefault((one.setting.data, one.setting.fingerprint), {})
        place.setdefault((*one.method, one.of, one.percent), one)
    return [_budgets(*place, list(members.values())) for place, members in found.items()]


def _budgets(dataset: str, fingerprint: str, series: Sequence[Series]) -> Table:
    called = labels(series)
    rows: list[dict[str, Any]] = []
    links: Cells = {}
    for place, one in enumerate(sorted(series, key=lambda one: (one.of, one.percent, one.order))):
        kept = one.records[0]["compressed"]
        counts = kept.get("class_counts") or [None]
        counted = "bytes" if spends_bytes(one.records[0]) else one.of
        share = 100 * kept[counted] / kept[f"full_{counted}"]
        is_asked = one.is_budgeted or one.name == "full"
        rows.append(
            {
                "method": called[one.method],
                "asked": f"{one.percent:g} % of {one.of}" if is_asked else "whatever is asked",
                "images": kept["images"],
                "images_share": 100 * kept["images"] / kept["full_images"],
                "bytes": kept["bytes"],
                "bytes_share": 100 * kept["bytes"] / kept["full_bytes"],
                "off": share - one.percent if is_asked else None,
                "content": kept.get("content", "selected"),
                "fewest": min(counts, default=None) if None not in counts else None,
                "most": max(counts, default=None) if None not in counts else None,
            }
        )
        links[place, "images"] = one.ids
    as_bytes = [
        called[one.method] for one in series if one.of == "images" and spends_bytes(one.records[0])
    ]
    notes = [
        f"Data: {dataset} ({fingerprint}). Counts of the first run (n = 1, no interval); a method "
        "that draws may keep others. How the sets are trained on (the protocol) does not matter.",
        "Off: what was kept beyond what was asked, in points of percent. Fewest and most: images "
        "of a class.",
        "Bytes: pixels uncompressed, or as the method stores them, with labels and masks; "
        "networks that reconstruct are not counted.",
        *bytes_note(as_bytes),
    ]
    return Table(
        f"Budgets kept: {dataset}", _BUDGET, rows, notes,
        links=links, name=ascii_name(f"budgets {dataset} {fingerprint}"),
    )  # fmt: skip


_BUDGET = (
    Column("method", "method", left=True),
    Column("asked", "asked", left=True),
    Column("images", "images", number),
    Column("images_share", "images %", "{:.2f}".format),
    Column("bytes", "bytes", number),
    Column("bytes_share", "bytes %", "{:.2f}".format),
    Column("off", "off", signed),
    Column("content", "content", left=True),
    Column("fewest", "fewest", number),
    Column("most", "most", number),
)
