"""The short report beside a compressed folder: what was asked, what was kept, what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.choices import Link
from bench.metering import told_bytes
from reports.durations import duration
from reports.overlap import from_stored
from reports.pictures import contact_sheet, printable
from reports.reading import code_words
from reports.tables import Column, Table, as_markdown, number

if TYPE_CHECKING:
    from bench.arrays import ByteArray

REPORT = "report.md"
PICTURE = "report.jpg"
_LISTED = 20

_COLUMNS = (
    Column("class", "class", lambda name: printable(name), left=True),
    Column("images", "images", number),
    Column("kept", "kept", number),
    Column("share", "kept %", "{:.1f}".format),
    Column("bytes", "file bytes", told_bytes),
    Column("kept_bytes", "kept bytes", told_bytes),
)


def report_files(
    manifest: Mapping[str, Any], pictures: Mapping[str, Sequence[ByteArray]]
) -> dict[str, bytes]:
    """Return the report and its picture, as files by name."""
    text = report_text(manifest, list(pictures))
    return {REPORT: text.encode("utf-8", "replace"), PICTURE: contact_sheet(pictures)}


def class_table(manifest: Mapping[str, Any]) -> Table:
    """Return the table of images and bytes by class, with the sum in the last row."""
    images, sizes = manifest["images"], manifest["bytes"]
    total = {
        "class": "all",
        "images": images["before"],
        "kept": images["after"],
        "bytes": sizes["before"],
        "kept_bytes": sizes["after"],
    }
    rows = [
        {**row, "share": 100 * row["kept"] / row["images"]} for row in (*manifest["classes"], total)
    ]
    return Table("Images and bytes of their files", _COLUMNS, rows)


def report_text(manifest: Mapping[str, Any], shown: Sequence[str]) -> str:
    """Return the report in Markdown.

    Parameters
    ----------
    manifest : mapping
        As in ``compression.json``.
    shown : sequence of str
        The classes of the picture's rows.
    """
    parts = [
        "# Compressed images",
        _code_list(_asked(manifest)),
        as_markdown(class_table(manifest)).rstrip(),
        *_overlap(manifest),
        *_told(manifest),
        "## Some of the kept images",
        f"![Kept images by class]({PICTURE})",
        "In the order of selection; rows from the top: "
        + ", ".join(f"`{printable(name)}`" for name in shown) + ".",
        "## Files",
        _FILES,
        "## Time and origin",
        _code_list(_origin(manifest)),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


_FILES = """\
- Images lie under the same paths as in the input.
- `kept.csv`: file, class, position in the sorted list of the input's files, rank of selection.
- `kept.npy`: the positions, int64, in the order of selection.
- `compression.json`: all that is told here, for machines."""


def _asked(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    asked = manifest["asked"]
    told = [("input", asked["input"]), ("asked", asked["words"])]
    if "method" in asked:
        parameters = [f"{key}={value}" for key, value in asked["parameters"].items()]
        told += [
            ("method", asked["about"]),
            ("parameters", ", ".join(parameters) or "none"),
            ("looked at", f"{asked['size']} x {asked['size']} pixels"),
            ("seed", "none: the method draws nothing" if asked["seed"] is None else asked["seed"]),
        ]
    ways = ", ".join(f"{count:,} {_WAYS[way]}" for way, count in manifest["written"].items())
    kept = (
        f"files of the input, unchanged ({ways})" if manifest["made"] is None else _made(manifest)
    )
    images, sizes = manifest["images"], manifest["bytes"]
    return [
        *told,
        ("kept", kept),
        ("images", _before_and_after(images, number)),
        ("bytes", _before_and_after(sizes, told_bytes)),
    ]


def _made(manifest: Mapping[str, Any]) -> str:
    made = manifest["made"]
    jpegs = f"{made['jpeg']:,} as JPEG with the input's tables, which changes them a little"
    pngs = f"{made['png']:,} as PNG, without loss"
    forms = ", ".join(text for text, count in ((jpegs, made["jpeg"]), (pngs, made["png"])) if count)
    return f"{manifest['content']} images of {made['width']} x {made['height']} pixels: {forms}"


def _before_and_after(counts: Mapping[str, int], show: Callable[[float], str]) -> str:
    share = 100 * counts["after"] / counts["before"]
    return f"{show(counts['before'])} before, {show(counts['after'])} after ({share:.3g} %)"


_WAYS = {
    Link.HARD: "hard links: editing one in place edits the input too",
    Link.SYMBOLIC: "symbolic links",
    Link.COPY: "copies",
}


def _overlap(manifest: Mapping[str, Any]) -> list[str]:
    told = manifest.get("overlap")
    return [] if told is None else [as_markdown(from_stored(told))]


def _told(manifest: Mapping[str, Any]) -> list[str]:
    lines = [f"- {printable(note)}" for note in manifest["notes"]]
    broken = manifest["broken"]
    if broken:
        lines.append(f"- Files that could not be read, left out: {len(broken):,}.")
        lines += [f"  - `{printable(name)}`" for name in broken[:_LISTED]]
    return ["## Left out and noticed", "\n".join(lines)] if lines else []


def _origin(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    seconds, origin = manifest["seconds"], manifest["provenance"]
    kinds = ", ".join(f"{kind} {duration(s)}" for kind, s in seconds["by_kind"].items())
    torch = origin["packages"].get("torch", "none")
    return [
        ("choosing", duration(seconds["choosing"]) + (f" (work: {kinds})" if kinds else "")),
        ("writing", duration(seconds["writing"])),
        ("code", f"{code_words(origin['source'])}, torch {torch}"),
        ("machine", f"{origin['machine']['processor']}, {origin['machine']['cores']} cores"),
        ("finished", origin["finished"]),
        ("request", manifest["id"]),
    ]


def _code_list(items: Sequence[tuple[str, Any]]) -> str:
    return "\n".join(f"- {name}: `{printable(str(value))}`" for name, value in items)
