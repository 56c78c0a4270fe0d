"""Where methods can be compared directly: same data, network, budget and protocol."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.contract import RECONSTRUCTION
from reports.collection import Collection, Key, Setting
from reports.statistics import Runs, matched

_FULL = "full"


class Place(NamedTuple):
    """Data, network and budget: where methods can be compared under each protocol."""

    data: str
    fingerprint: str
    model: str
    percent: float
    of: str
    data_label: str
    """What the data set is called."""

    @property
    def words(self) -> str:
        """The place as tables name it."""
        of_bytes = " of bytes" * (self.of == "bytes")
        return f"{self.data_label}, {self.model}, {self.percent:g} %{of_bytes}"


@dataclass(frozen=True)
class Contest:
    """The methods of one place and protocol, one identity each.

    Parameters
    ----------
    place : Place
    protocol : str
    here : Collection
        Of their setting.
    keys : mapping of spec to Key
        Sorted by spec.
    """

    place: Place
    protocol: str
    here: Collection
    keys: Mapping[str, Key]

    @property
    def words(self) -> str:
        """The place with the protocol."""
        return f"{self.place.words}, {self.protocol}"

    def called(self, spec: str) -> str:
        """Return what a method is called in tables: its spec, marked where it is reconstructed."""
        return spec + RECONSTRUCTION * self.keys[spec].reconstruction

    def is_seeded(self, spec: str) -> bool:
        """Return whether a method draws, so that its runs have selection seeds of their own."""
        return bool(self.here.groups[self.keys[spec]][0]["seeded"])

    def runs(self, column: str = "accuracy") -> dict[str, Runs]:
        """Return a column's values of every method's runs."""
        return {spec: self.here.runs(key, column) for spec, key in self.keys.items()}

    def alike(self) -> dict[str, Runs]:
        """Return the accuracies; a method without selection seeds stands for all of the others'."""
        given = self.runs()
        unseeded = {spec for spec in self.keys if not self.is_seeded(spec)}
        pairs = {key: 0.0 for spec, runs in given.items() if spec not in unseeded for key in runs}
        if not pairs:
            return given
        spread: dict[str, Runs] = {}
        for spec, runs in given.items():
            own = runs
            if spec in unseeded:
                found = matched(pairs, runs, theirs_seeded=False)
                own = {key: value for key, (_, value) in found.items()}
            if own:
                spread[spec] = own
        return spread


class _Group(NamedTuple):
    """The runs of one row: where they stand, and what tells them from others of the same names."""

    setting: Setting
    key: Key
    protocol_id: str
    size: int
    version: int
    """Of the method."""


def contests(results: Collection) -> list[Contest]:
    """Return every contest, as reports list settings, by ratio; full data takes no part.

    A method that no budget changes meets those that keep the share that it kept.

    A name stands for one identity in all places: of protocols, settings and methods with the same
    name, the one with most runs on a data set is taken, of a method's versions the newest;
    :func:`left_out` tells the others. An older version of a protocol or model is a protocol of its
    own.
    """
    found: dict[tuple[Place, str], dict[str, _Group]] = defaultdict(dict)
    for one in _chosen(_groups(results)):
        setting = one.setting
        kept = results.at(setting).kept_percent(one.key)
        place = Place(
            setting.dataset, setting.fingerprint, setting.model, kept, one.key.of, setting.data
        )
        found[place, setting.training][one.key.spec] = one
    made: dict[Setting, list[Contest]] = {setting: [] for setting in results.settings()}
    for (place, protocol), groups in found.items():
        setting = next(iter(groups.values())).setting
        keys = {spec: groups[spec].key for spec in sorted(groups)}
        made[setting].append(Contest(place, protocol, results.at(setting), keys))
    return [one for here in made.values() for one in sorted(here, key=lambda one: one.place)]


def left_out(results: Collection) -> list[str]:
    """Return in words which runs are in no contest, for newer or more runs of the same name."""
    groups = _groups(results)
    chosen = set(_chosen(groups))
    counts: Counter[str] = Counter()
    for one in groups:
        if one not in chosen:
            setting, key = one.setting, one.key
            method = f"{key.spec} #{key.method_id[:4]}"
            counts[f"{method} in {setting.title} #{setting.id[:4]}"] += one.size
    return [f"{words} ({count})" for words, count in sorted(counts.items())]


def _groups(results: Collection) -> list[_Group]:
    return [
        _Group(setting, key, rows[0]["protocol_id"], len(rows), rows[0]["method_version"])
        for setting in results.settings()
        for key, rows in results.at(setting).groups.items()
        if key.spec != _FULL
    ]


def _chosen(groups: Sequence[_Group]) -> Sequence[_Group]:
    """Return the groups of one protocol, setting and method of each name on each data set."""
    groups = _best_known(groups, lambda one: (), lambda one: (0, one.protocol_id))
    groups = _best_known(groups, lambda one: (one.setting.model,), lambda one: (0, one.setting.id))
    return _best_known(
        groups,
        lambda one: (one.key.spec,),
        lambda one: (one.version, f"{one.key.method_id} {one.key.reconstruction}"),
    )


def _best_known(
    groups: Sequence[_Group],
    names: Callable[[_Group], tuple[str, ...]],
    identity: Callable[[_Group], tuple[int, str]],
) -> Sequence[_Group]:
    """Return the groups of one identity under each name, on each data set and protocol.

    An identity is a version and an id. The newest version is taken; of several of one version,
    the one with most runs.
    """

    def named(one: _Group) -> tuple[str, ...]:
        return one.setting.dataset, one.setting.fingerprint, one.setting.training, *names(one)

    sizes: dict[tuple[str, ...], Counter[tuple[int, str]]] = defaultdict(Counter)
    for one in groups:
        sizes[named(one)][identity(one)] += one.size
    best = {
        name: min(found, key=lambda known: (-known[0], -found[known], known[1]))
        for name, found in sizes.items()
    }
    return [one for one in groups if identity(one) == best[named(one)]]
