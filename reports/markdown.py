"""The report of a results folder in Markdown, with its figures beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.identity import digest
from bench.storage import told_as_storage_error, write_text
from reports.summary import Collection, Setting, accuracy_table, cost_table, failure_table
from reports.tables import as_markdown

_STAMP = "<!-- bench report, made from {digest} -->"
_FORMAT = 1


def write_report(
    folder: Path,
    records: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, Any]] = (),
    anew: bool = False,
) -> Path:
    """Write ``report.md`` and its figures into a results folder; return its path.

    A report that was made from the same records is left as it is, unless ``anew``.
    """
    path = folder / "report.md"
    stamp = _STAMP.format(digest=_digest(records, failures))
    if not anew and _is_current(path, stamp):
        return path
    results = Collection.of(records, failures)
    parts = [stamp, "# Dataset compression: results", *_introduction(results)]
    for number, setting in enumerate(results.settings(), start=1):
        parts += _section(results, setting, folder, number)
    if failures:
        parts.append(as_markdown(failure_table(results)))
    parts += [_protocols(records), _provenance(records, failures)]
    write_text(path, "\n\n".join(part for part in parts if part) + "\n")
    return path


def _introduction(results: Collection) -> list[str]:
    if not results.rows and not results.failures:
        return ["No cell has been computed yet. Run `bench run` with this results folder."]
    return [
        f"Complete cells: {len(results.rows)}; failed: {len(results.failures)}. Each number is "
        "computed from the records beside this file (`records/`, one JSON file a cell)."
    ]


def _section(results: Collection, setting: Setting, folder: Path, number: int) -> list[str]:
    table = accuracy_table(results, setting)
    parts = [f"## {setting.title}", as_markdown(table)]
    if any(row["accuracy"] is not None for row in table.rows):
        from reports.figures import accuracy_figure

        name = f"accuracy-{number}.svg"
        with told_as_storage_error(folder / "figures"):
            (folder / "figures").mkdir(parents=True, exist_ok=True)
        accuracy_figure(table, folder / "figures" / name)
        parts.append(f"![Test accuracy against the share of images kept](figures/{name})")
    return [*parts, as_markdown(cost_table(results, setting))]


def _protocols(records: Sequence[Mapping[str, Any]]) -> str:
    seen = {r["specs"]["protocol"]: r["cell"]["protocol"]["parameters"] for r in records}
    lines = [
        f"- `{spec}`: " + ", ".join(f"{key} {json.dumps(value)}" for key, value in fields.items())
        for spec, fields in sorted(seen.items())
    ]
    return "\n".join(["## Protocols in full", "", *lines]) if lines else ""


def _provenance(records: Sequence[Mapping[str, Any]], failures: Sequence[Mapping[str, Any]]) -> str:
    found = {_origin(entry["provenance"]) for entry in (*records, *failures)}
    lines = [f"- {line}" for line in sorted(found)]
    return "\n".join(["## Machines and code", "", *lines]) if lines else ""


def _origin(provenance: Mapping[str, Any]) -> str:
    machine, source, device = (provenance[key] for key in ("machine", "source", "device"))
    commit = (source["commit"] or "no commit")[:12]
    changed = " with uncommitted changes" if source["uncommitted_changes"] else ""
    where = device.get("name") or f"{machine['processor']}, CPU threads: {device['threads']}"
    torch = provenance["packages"].get("torch", "?")
    return f"bench {source['version']} ({commit}{changed}), torch {torch}, {where}"


def _digest(records: Sequence[Mapping[str, Any]], failures: Sequence[Mapping[str, Any]]) -> str:
    return digest([_FORMAT, [digest(record) for record in records], [digest(f) for f in failures]])


def _is_current(path: Path, stamp: str) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().strip() == stamp
    except OSError:
        return False
