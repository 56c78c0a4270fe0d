"""What the rows of tables are called: a method's spec, and what tells it from its variants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.components import written
from bench.contract import RECONSTRUCTION
from bench.specs import expand
from reports.copies import dataset_label

if TYPE_CHECKING:
    from reports.collection import Key
    from reports.reading import Row

Parameters = Mapping[str, Any]


def names(parameters: Mapping[Key, Parameters]) -> dict[Key, str]:
    """Return what each row is called: its spec, marked where that names two identities.

    Where all variants of a method differ in one parameter, the one that leaves it out is called
    by its value too: ``dq[bins=10]`` beside ``dq[bins=5]``.

    Parameters
    ----------
    parameters : mapping of Key to the parameters of its method, defaults filled in
    """
    full = _with_the_varied_one({key.spec: values for key, values in parameters.items()})
    called = {key: full.get(key.spec, key.spec) for key in parameters}
    return {
        key: name + RECONSTRUCTION * key.reconstruction for key, name in _marked(called).items()
    }


def marked_specs(keys: Iterable[Key]) -> dict[Key, str]:
    """Return the spec of each key, with four digits of its id where a spec has two."""
    return _marked({key: key.spec for key in keys})


def varied(specs: Iterable[str]) -> list[str]:
    """Return the parameters that some of these specs give, in their order."""
    given = (expand(spec) for spec in specs if "[" in spec)
    return list(dict.fromkeys(name for one in given for name, _ in next(one).parameters))


def tell_data_apart(rows: Sequence[Row]) -> None:
    """Set ``data_name`` of rows on data sets of one label: with their spec, or ``#`` and digits.

    Two folders of images, or two sizes of one, would otherwise stand under one title. The digits
    are the fingerprint's.
    """
    data = {(row["data_name"], row["dataset"], row["fingerprint"]) for row in rows}
    labels = {one: one[0] or dataset_label(*one[1:]) for one in data}
    specs: dict[str, set[str]] = defaultdict(set)
    fingerprints: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (_, spec, fingerprint), label in labels.items():
        specs[label].add(spec)
        fingerprints[label, spec].add(fingerprint)
    for row in rows:
        spec, fingerprint = row["dataset"], row["fingerprint"]
        label = labels[row["data_name"], spec, fingerprint]
        told = f" ({spec})" if len(specs[label]) > 1 else ""
        if len(fingerprints[label, spec]) > 1:
            told += f" #{fingerprint.rpartition('-')[2][:4]}"
        if told:
            row["data_name"] = label + told


def _with_the_varied_one(parameters: Mapping[str, Parameters]) -> dict[str, str]:
    """Return the full names of specs without parameters, where others give the same single one."""
    specs: dict[str, list[str]] = defaultdict(list)
    for spec in parameters:
        specs[spec.partition("[")[0]].append(spec)
    found = {}
    for name, variants in specs.items():
        if name in parameters and len(given := varied(variants)) == 1:
            values = {key: parameters[name][key] for key in given if key in parameters[name]}
            found[name] = written(name, values)
    return found


def _marked(called: Mapping[Key, str]) -> dict[Key, str]:
    identities_of: dict[str, set[str]] = defaultdict(set)
    for key, name in called.items():
        identities_of[name].add(key.method_id)
    return {
        key: f"{name} #{key.method_id[:4]}" if len(identities_of[name]) > 1 else name
        for key, name in called.items()
    }
