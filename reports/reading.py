"""Records and failures as rows: the plain values that tables, pages and answers are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.consolidation import TESTED_EPOCHS
from bench.results import flat, identities
from reports.versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Row = dict[str, Any]
_SPENDS_BYTES = (
    "{}: the ratio counts bytes here, not images. Images are stored smaller, all of them where "
    "they fit into that share of the bytes."
)


def cell_row(record: Mapping[str, Any]) -> Row:
    """Return a record as one row; what an older record did not measure is None."""
    kept, cost, origin = record["compressed"], record["cost"], record["provenance"]
    model, machine, source = record.get("model", {}), origin["machine"], origin["source"]
    precision = record.get("engine", {}).get("precision", "")
    curve = record["metrics"].get("curve", {}).get("accuracy", ())
    tested = len(curve) or record["metrics"].get(TESTED_EPOCHS)
    row = flat(record)
    return {
        **row,
        "best_accuracy": None if tested == 1 else row["best_accuracy"],  # no choice was made
        "tested_epochs": tested,
        **versions(record["cell"]),
        "older": "",
        "data_name": record.get("data_name", ""),
        "total_s": cost["selection_s"] + cost["training_s"] + cost["testing_s"],
        "parameters": record["cell"]["method"].get("parameters", {}),
        "method_name": record["cell"]["method"]["name"],
        "budgeted": record["method"].get("budgeted", True),
        "spends_bytes": spends_bytes(record),
        "content": kept.get("content", "selected"),
        "labels": kept.get("labels", "hard"),
        "selection": selection_of(record),
        "autoencoder": kept.get("notes", {}).get("pixels", {}).get("mae", ""),
        "model_parameters": model.get("parameters"),
        "operations_per_image": model.get("operations_per_image"),
        "model_choice": model.get("our_choice") or "",
        "training_operations": cost.get("training_operations"),
        "operations_per_s": cost.get("operations_per_s"),
        "processor_share": cost.get("processor_share"),
        "share_of_peak": cost.get("share_of_peak"),
        "memory_bytes": cost.get("process_peak_memory_bytes"),
        "device_memory_bytes": cost.get("device_peak_memory_bytes"),
        "origin": origin_words(origin) + (f", {precision}" if precision else ""),
        "commit": source["commit"] or "",
        "host": machine.get("host", ""),
        "finished": origin.get("finished", ""),
    }


def spends_bytes(record: Mapping[str, Any]) -> bool:
    """Return whether the method takes every ratio for one of the bytes, also a ratio of images."""
    return bool(record["method"].get("keeps") == "bytes")


def bytes_note(methods: Iterable[str]) -> list[str]:
    """Return what is to be said of rows of these methods, which spend bytes, among other rows."""
    names = ", ".join(dict.fromkeys(methods))
    return [_SPENDS_BYTES.format(names)] if names else []


def failure_row(failure: Mapping[str, Any]) -> Row:
    """Return a failure as one row."""
    cell = failure["cell"]
    lines = failure["message"].splitlines() or [""]
    return {
        "id": failure["id"],
        **identities(cell),
        **failure["specs"],
        **versions(cell),
        "older": "",
        "data_name": failure.get("data_name", ""),
        "fingerprint": cell["dataset"]["fingerprint"],
        "percent": float(cell["budget"]["percent"]),
        "of": cell["budget"].get("of", "images"),
        "reconstruction": failure["method"].get("reconstruction", False),
        "selection_seed": cell["selection_seed"],
        "training_seed": cell["training_seed"],
        "phase": failure["phase"],
        "type": failure["type"],
        "parameters": cell["method"].get("parameters", {}),
        "cause": f"{failure['type']}: {lines[0]}",
        "attempt": failure.get("attempt", 1),
        "origin": origin_words(failure["provenance"]),
    }


def origin_words(provenance: Mapping[str, Any]) -> str:
    """Return the code and the machine that a result comes from, in one line."""
    machine, source, device = (provenance[key] for key in ("machine", "source", "device"))
    where = device.get("name") or f"{machine['processor']}, CPU threads: {device['threads']}"
    torch = provenance["packages"].get("torch", "?")
    return f"{code_words(source)}, torch {torch}, {where}"


def code_words(source: Mapping[str, Any]) -> str:
    """Return the version of bench and its commit; where pip installed it, its files' digest."""
    commit = source["commit"]
    exactly = commit[:12] if commit else f"no commit, source {source['digest'][:12]}"
    changed = " with uncommitted changes" if source["uncommitted_changes"] else ""
    return f"bench {source['version']} ({exactly}{changed})"


def selection_of(record: Mapping[str, Any]) -> str:
    """Return the id of the artefact that holds a record's compressed set, or an empty text."""
    artefacts = record["cost"].get("artefacts", {})
    found = (name for name in reversed(artefacts) if artefacts[name]["kind"] == "compressed")
    return next(found, "")
