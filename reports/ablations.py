"""Ablations: the variants of one method beside each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench.components import written
from bench.contract import RECONSTRUCTION
from reports.collection import Collection, Key, Setting, with_axis
from reports.naming import varied
from reports.tables import Column, Table, ascii_name, difference, number, percent


def ablation_tables(results: Collection, setting: Setting) -> list[Table]:
    """Return a table for each method of one setting that has several variants."""
    here = results.at(setting)
    by_name: dict[str, list[Key]] = defaultdict(list)
    for key in here.keys:
        if key in here.groups:
            by_name[here.groups[key][0]["method_name"]].append(key)
    return [
        _ablation(results, setting, name, keys)
        for name, keys in sorted(by_name.items())
        if len({(key.spec, key.method_id) for key in keys}) > 1
    ]


def _ablation(results: Collection, setting: Setting, name: str, keys: Sequence[Key]) -> Table:
    here = results.at(setting)
    references = _references(keys)
    rows: list[dict[str, Any]] = []
    links: dict[tuple[int, str], Sequence[str]] = {}
    pairs: list[str] = []
    for place, key in enumerate(keys):
        reference = references[key.ratio, key.of]
        against = None if reference == key else reference
        to_reference = here.compared(key, against)
        if against and to_reference and to_reference.n != len(here.groups[key]):
            pairs.append(
                f"{here.names[key]} at {key.ratio:g} %{' of bytes' * (key.of == 'bytes')}: "
                f"{to_reference.n} pairs with {here.names[against]}."
            )
        rows.append(
            {
                "variant": here.names[key],
                "percent": key.ratio,
                "of": key.of,
                "accuracy": here.estimate(key),
                "n": len(here.groups[key]),
                "to_reference": to_reference.estimate() if to_reference else None,
            }
        )
        ids = here.ids(key)
        links |= {(place, "accuracy"): ids, (place, "n"): ids}
        links[place, "to_reference"] = [*ids, *here.ids(against)]
    called = name + RECONSTRUCTION * keys[0].reconstruction
    named = sorted({here.names[key] for key in references.values()})
    notes = [
        f"Vs first: paired differences to {' or '.join(named)}, over common seeds, same budget.",
        "Accuracy: in %, last epoch; mean ± half of its 95 % interval over n runs. "
        f"Protocol: {setting.protocol}.",
        *_defaults(here, keys),
        *pairs,
    ]
    return Table(
        f"Variants of {called}: {setting.title}",
        with_axis(_ABLATION_COLUMNS, rows),
        rows,
        notes,
        links=links,
        name=f"ablation-{ascii_name(name)}-{results.slug(setting)}",
    )


def _defaults(here: Collection, keys: Sequence[Key]) -> list[str]:
    """Return what is behind the names without parameters, where variants differ in several."""
    given = varied(key.spec for key in keys)
    if len(given) < 2:  # the rows tell it
        return []
    bare = {here.names[key]: key for key in keys if "[" not in key.spec}
    told = []
    for name, key in bare.items():
        values = here.parameters(key)
        full = written(key.spec, {one: values[one] for one in given if one in values})
        told.append(f"{name} stands for {full}.")
    return told


def _references(keys: Sequence[Key]) -> dict[tuple[float, str], Key]:
    """Return what variants are compared with at each ratio: the default where it is there."""
    found: dict[tuple[float, str], Key] = {}
    for key in sorted(keys, key=lambda key: ("[" in key.spec, key.spec, key.method_id)):
        found.setdefault((key.ratio, key.of), key)
    return found


_ABLATION_COLUMNS = (
    Column("variant", "variant", left=True),
    Column("percent", "kept %", number),
    Column("accuracy", "accuracy %", percent),
    Column("n", "n", number),
    Column("to_reference", "vs first", difference),
)
