"""Tables of what cells keep and spend: bytes, seconds, and how the machine was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from bench.metering import told_bytes
from reports.collection import Collection, Groups, Setting, links_of, macro_keys, with_axis
from reports.durations import duration
from reports.naming import marked_specs
from reports.reading import Row, bytes_note
from reports.statistics import Estimate
from reports.tables import Column, Table, number, plus_minus


def cost_table(results: Collection, setting: Setting) -> Table:
    """Return what one setting's cells keep and cost: bytes, steps, mean seconds by stage."""
    here = results.at(setting)
    keys = [key for key in here.keys if key in here.groups]
    specs = marked_specs(here.keys)
    rows = []
    for key in keys:
        group = here.groups[key]
        stages = {stage: _mean(group, stage) for stage in _STAGES}
        rows.append(
            {
                "method": here.names[key],
                "spec": specs[key],
                "percent": here.kept_percent(key),
                "of": key.of,
                "bytes": round(_mean(group, "bytes")),
                "shared_bytes": group[0].get("shared_bytes", 0),
                "steps": round(_mean(group, "steps")),
                **stages,
                "total_s": here.estimate(key, "total_s"),
                "n": len(group),
            }
        )
    devices = ", ".join(sorted({row["device"] for row in here.rows})) or "no device"
    notes = [
        "Bytes: what keeping the set takes; whole images count uncompressed, with their labels.",
        f"Times: of one cell, trained and tested on {devices}, mean of n runs; the total ± half of "
        f"its 95 % interval. Protocol: {setting.protocol}.",
        "Selection charges every artefact behind it (network, embeddings, bins, scores) to each "
        "method that uses it, cached or not.",
        *bytes_note(here.spending_bytes(keys)),
        *_unevenness(here.groups),
        *_shared_notes({here.names[key]: here.groups[key][0] for key in keys}),
    ]
    return Table(
        f"Kept and spent: {setting.title}",
        with_axis(_COST_COLUMNS, rows),
        rows,
        notes,
        links=links_of(here, keys, ("bytes", "steps", *_STAGES, "total_s")),
        name=f"cost-{results.slug(setting)}",
        keys=macro_keys(results, setting, keys),
    )


def _unevenness(groups: Groups) -> list[str]:
    """Return what makes times tell more of a machine than of methods."""
    rows = [row for group in groups.values() for row in group]
    shares = [row["processor_share"] for row in rows if row.get("processor_share") is not None]
    busy = sum(share < _BUSY for share in shares)
    several = [group for group in groups.values() if len(group) > 1]
    uneven = sum(map(_is_uneven, several))
    notes = []
    if busy:
        notes.append(
            f"The machine was busy: in {busy} of {len(shares)} cells training had a processor for "
            "less than half of its time. Such times tell of other work too, not of the cost alone."
        )
    if uneven:
        notes.append(
            f"In {uneven} of {len(several)} rows with several runs, a step of training took more "
            "than twice as long in one run as in another: the machine was busy, or not the same."
        )
    return notes


def _is_uneven(group: Sequence[Row]) -> bool:
    timed = [row for row in group if row["steps"]]
    paces = [row["training_s"] / row["steps"] for row in timed]
    longest = max((row["training_s"] for row in timed), default=0.0)
    return longest > _BRIEF_S and max(paces) > _UNEVEN * min(paces)


def _shared_notes(methods: Mapping[str, Row]) -> list[str]:
    """Return what methods need once besides the bytes of what they keep; a row of each is given."""
    return [
        f"Shared: {method} needs {told_bytes(row['shared_bytes'])} more, once for any number of "
        f"images, to reconstruct them{_STAND_IN * (row.get('autoencoder') == 'small')}; no budget "
        "counts it."
        for method, row in methods.items()
        if row.get("shared_bytes")
    ]


def speed_table(results: Collection, setting: Setting) -> Table | None:
    """Return how the machine was used, or None where no record of the setting tells it."""
    here = results.at(setting)
    keys = [
        key
        for key in here.keys
        if all(row.get("operations_per_s") is not None for row in here.groups.get(key, [{}]))
    ]
    if not keys:
        return None
    specs = marked_specs(here.keys)
    rows = [
        {
            "method": here.names[key],
            "spec": specs[key],
            "percent": here.kept_percent(key),
            "of": key.of,
            **{
                name: _mean(here.groups[key], name)
                for name in ("training_operations", "operations_per_s")
            },
            "share_of_peak": _share_of_peak(here.groups[key]),
            **{
                name: _most(here.groups[key], name)
                for name in ("memory_bytes", "device_memory_bytes")
            },
            "n": len(here.groups[key]),
        }
        for key in keys
    ]
    first = here.groups[keys[0]][0]
    notes = [
        f"Network: {first['model_parameters']:,} parameters, "
        f"{scaled(first['operations_per_image'])} operations for one image forward.",
        f"Means of n runs, memory the most of them; no intervals. Protocol: {setting.protocol}.",
        "Operations: multiplications and additions of training, counted, not measured; the peak "
        "is that of a large matrix product, or on a processor of a convolution that was faster, "
        "measured in the same process; memory is the most that the process, and its GPU, held.",
    ]
    choices = {row["model_choice"] for row in here.rows if row.get("model_choice")}
    notes += [f"The network is our choice: {choice}." for choice in sorted(choices)]
    columns = [
        column
        for column in with_axis(_SPEED_COLUMNS, rows)
        if column.key != "device_memory_bytes" or any(row[column.key] for row in rows)
    ]
    return Table(
        f"Use of the machine: {setting.title}",
        columns,
        rows,
        notes,
        links=links_of(here, keys, [column.key for column in _SPEED_COLUMNS[2:]]),
        name=f"speed-{results.slug(setting)}",
        keys=macro_keys(results, setting, keys),
    )


def scaled(value: float) -> str:
    """Show a large number with a metric prefix."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 1000:
            return f"{value:.3g} {prefix}".rstrip()
        value /= 1000
    return f"{value:.3g} E"


def _total(estimate: Estimate) -> str:
    width = plus_minus(estimate, lambda seconds: duration(seconds, estimate.mean))
    return f"{duration(estimate.mean)}{width}"


def _mean(group: Sequence[Row], column: str) -> float:
    return fmean(row[column] for row in group)


def _share_of_peak(group: Sequence[Row]) -> float | None:
    """Return the mean of the runs in which the peak could be measured."""
    known = [row["share_of_peak"] for row in group if row["share_of_peak"] is not None]
    return fmean(known) if known else None


def _most(group: Sequence[Row], column: str) -> int | None:
    return max((row[column] for row in group if row[column] is not None), default=None)


_BUSY = 0.5
_UNEVEN = 2.0
_BRIEF_S = 1.0
"""Seconds; what is shorter differs for any reason."""
_STAND_IN = " by a small autoencoder, trained here, which stands in for MAE's ViT-Large"
_STAGES = ("selection_s", "training_s", "testing_s")
_COST_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("bytes", "bytes", told_bytes, word="bytes"),
    Column("steps", "steps", number, word="steps"),
    Column("selection_s", "select", duration, word="selection"),
    Column("training_s", "train", duration, word="training"),
    Column("testing_s", "test", duration, word="testing"),
    Column("total_s", "total", _total, word="total"),
    Column("n", "n", number),
)
_SPEED_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %", number),
    Column("training_operations", "operations", scaled),
    Column("operations_per_s", "a second", scaled, word="speed"),
    Column("share_of_peak", "of peak", "{:.1%}".format, word="of-peak"),
    Column("memory_bytes", "memory", told_bytes, word="memory"),
    Column("device_memory_bytes", "GPU memory", told_bytes, word="gpu-memory"),
    Column("n", "n", number),
)
