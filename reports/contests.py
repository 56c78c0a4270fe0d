"""Where methods can be compared directly: same data, network, budget and protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reports.claims import dataset_label
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

    @property
    def data_label(self) -> str:
        """What the data set is called."""
        return dataset_label(self.data, self.fingerprint)

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


def contests(results: Collection) -> list[Contest]:
    """Return every contest, sorted; full data stands for itself and takes no part.

    Of settings with the same names, and of methods with the same spec, the one with most runs is
    taken.
    """
    found: dict[tuple[Place, str], dict[Setting, list[Key]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for setting in results.settings():
        for key in results.at(setting).groups:
            if key.spec != _FULL:
                data, fingerprint, model = setting.dataset, setting.fingerprint, setting.model
                place = Place(data, fingerprint, model, key.ratio, key.of)
                found[place, setting.protocol][setting].append(key)
    return [
        _contest(results, place, protocol, settings)
        for (place, protocol), settings in sorted(found.items())
    ]


def _contest(
    results: Collection, place: Place, protocol: str, settings: Mapping[Setting, Sequence[Key]]
) -> Contest:
    def size(setting: Setting) -> int:
        groups = results.at(setting).groups
        return sum(len(groups[key]) for key in settings[setting])

    setting = min(settings, key=lambda one: (-size(one), one.id))
    here = results.at(setting)
    kept: dict[str, Key] = {}
    for key in sorted(settings[setting]):
        if key.spec not in kept or len(here.groups[key]) > len(here.groups[kept[key.spec]]):
            kept[key.spec] = key
    return Contest(place, protocol, here, kept)
