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
    alone = _varied_alone({key.spec for key in parameters})
    called = {key: _with_value(key.spec, alone.get(key.spec), of) for key, of in parameters.items()}
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


def _varied_alone(specs: Iterable[str]) -> dict[str, str]:
    """Return the parameter of specs without any, where others give the same single one."""
    variants: dict[str, list[str]] = defaultdict(list)
    for spec in specs:
        variants[spec.partition("[")[0]].append(spec)
    given = {name: varied(found) for name, found in variants.items() if name in found}
    return {name: found[0] for name, found in given.items() if len(found) == 1}


def _with_value(spec: str, parameter: str | None, parameters: Parameters) -> str:
    """Return a spec without parameters with the value of one that its identity has."""
    if parameter is None or parameter not in parameters:
        return spec
    return written(spec, {parameter: parameters[parameter]})


def _marked(called: Mapping[Key, str]) -> dict[Key, str]:
    identities_of: dict[str, set[str]] = defaultdict(set)
    for key, name in called.items():
        identities_of[name].add(key.method_id)
    return {
        key: f"{name} #{key.method_id[:4]}" if len(identities_of[name]) > 1 else name
        for key, name in called.items()
    }
