"""What the records hold that a claim can be tested on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Any, NamedTuple

from reports.claims.claim import FULL, Claim
from reports.copies import Copy
from reports.statistics import Effect, effect_over_seeds, matched

Row = Mapping[str, Any]
Values = dict[tuple[int, int], float]


class Data(NamedTuple):
    """A data set that stands for a published one."""

    name: str
    label: str
    fingerprint: str
    is_copy: bool


class Place(NamedTuple):
    """Where runs belong: what two of them must share to be of one mean."""

    data: Data
    protocol: str
    model: str


@dataclass(frozen=True)
class Index:
    """Rows by where they belong, method and ratio."""

    rows: Mapping[tuple[Place, str, float], Sequence[Row]]
    places: Mapping[str, Sequence[Place]]
    """By the published data set that they stand for."""

    @classmethod
    def of(cls, rows: Iterable[Row], copies: Sequence[Copy]) -> Index:
        """Return the index of rows, as :func:`reports.reading.cell_row` makes them.

        Budgets of bytes are left out: no publication counts them.
        """
        known = {copy.fingerprint: copy for copy in copies}
        found: dict[tuple[Place, str, float], list[Row]] = defaultdict(list)
        for row in rows:
            if row["of"] != "images":
                continue
            place = Place(_data(row, known), f"{row['protocol']}{row['older']}", row["model"])
            found[place, row["method"], row["percent"]].append(row)
        places: dict[str, dict[Place, None]] = defaultdict(dict)
        for place, _, _ in found:
            places[place.data.name][place] = None
        return cls(dict(found), {name: sorted(of) for name, of in places.items()})


@dataclass(frozen=True)
class Evidence:
    """Our side of a claim.

    Parameters
    ----------
    effect : Effect
        What the claim has a number of, in its unit.
    direction : Effect or None
        Positive where the claimed direction holds, in points; None where none is claimed or
        there is nothing to compare with.
    protocol : str
        Under which ours was measured; with the model and the data where they are not the
        claim's.
    departures : tuple of str
        In what our runs are not the published ones; empty: in nothing that is known.
    remarks : tuple of str
        What else is to be told.
    cells : tuple of str
        The ids of the cells behind both.
    """

    effect: Effect
    direction: Effect | None
    protocol: str
    departures: tuple[str, ...]
    remarks: tuple[str, ...]
    cells: tuple[str, ...]


def evidence(claim: Claim, method: str, index: Index) -> Evidence | str:
    """Return what there is nearest to a claim for one of its methods, or what is missing."""
    if claim.metric == "selection time":
        return _times(claim, method, index)
    missing = f"no record of {method} on {claim.dataset} with the claim's models and ratios"
    fallback = None
    for where, models in _settings(claim, index):
        runs = _Runs(claim, index, where, models)
        found = runs.evidence(method)
        if found is None:
            missing = runs.missing or missing
        elif found.departures and found.direction is None and claim.than:
            fallback = fallback or found  # another setting may have what gives the direction
        else:
            return found
    return fallback or missing


def _settings(claim: Claim, index: Index) -> Iterator[tuple[tuple[Data, str], tuple[str, ...]]]:
    """Yield data, protocols and models that may do, the nearest to the published ones first."""
    places = index.places.get(claim.dataset, ())
    wanted = [claim.models]
    if len(claim.models) == 1:
        wanted += [(model,) for model in claim.stand_ins]
    options = {
        (
            place.data.is_copy + (place.protocol not in claim.same_protocols) + (number > 0),
            place.data.is_copy,
            number,
            _order(place.protocol, claim.same_protocols),
            place.protocol,
            place.data,
        ): ((place.data, place.protocol), models)
        for place in places
        for number, models in enumerate(wanted)
        if place.model in models
    }
    for key in sorted(options):
        yield options[key]


class _Runs:
    """The runs of a claim's methods in one setting, one identity each."""

    def __init__(
        self, claim: Claim, index: Index, where: tuple[Data, str], models: tuple[str, ...]
    ) -> None:
        self.claim, self.index, self.models = claim, index, models
        self.data, self.protocol = where
        self.missing = ""
        self._left_out = 0
        self._settings: dict[str, str] = {}
        self._than = claim.than

    def evidence(self, method: str) -> Evidence | None:
        claim = self.claim
        ours = self._members(method)
        if ours is None:
            return None
        theirs = self._opponents(method) if claim.than else None
        if theirs is None and claim.compare != "value":
            return None
        pairs = None if theirs is None else _paired(ours, theirs)
        if claim.compare == "value":
            values = _mean_over_members([_accuracies(rows) for rows in ours])
        else:
            values = {key: self._compared(*pair) for key, pair in (pairs or {}).items()}
        if not values:
            self.missing = f"no seed that {method} and {self._than} have in common"
            return None
        return Evidence(
            effect=effect_over_seeds(values),
            direction=self._direction(pairs),
            protocol=self._told(),
            departures=self._departures(),
            remarks=self._remarks(ours),
            cells=tuple(sorted({row["id"] for rows in (*ours, *(theirs or ())) for row in rows})),
        )

    def _compared(self, ours: float, theirs: float) -> float:
        return 100 * ours / theirs if self.claim.compare == "ratio" else ours - theirs

    def _direction(
        self, pairs: Mapping[tuple[int, int], tuple[float, float]] | None
    ) -> Effect | None:
        if not pairs or not self.claim.direction:
            return None
        sign = 1 if self.claim.direction == "above" else -1
        return effect_over_seeds({key: sign * (a - b) for key, (a, b) in pairs.items()})

    def _opponents(self, method: str) -> list[list[Row]] | None:
        """Return the rows to compare with: of the same edition, where that was run."""
        _, bracket, _ = method.partition("[edition=")
        if bracket and "[" not in self.claim.than:
            of_edition = self.claim.than + method[method.index("[") :]
            found = self._members(of_edition)
            if found is not None:
                self._than = of_edition
                return found
        return self._members(self.claim.than)

    def _members(self, method: str) -> list[list[Row]] | None:
        """Return the rows of each model and ratio, of one identity; None where one has none.

        It is the newest version of the method that has rows for all of them, and of several
        identities of one version the one with most rows. Others are counted and left out.
        """
        wanted = list(product(self.models, self.claim.ratios))
        rows = [self._rows(method, *one) for one in wanted]
        counts = Counter((row["method_version"], row["method_id"]) for one in rows for row in one)
        most = 0
        for known in sorted(counts, key=lambda known: (-known[0], -counts[known], known[1])):
            settings = dict(self._settings)
            found = [
                self._in_one_setting([row for row in one if row["method_id"] == known[1]], model)
                for (model, _), one in zip(wanted, rows, strict=True)
            ]
            if all(found):
                self._left_out += counts.total() - sum(map(len, found))
                return found
            self._settings = settings
            most = max(most, sum(map(bool, found)))
        if len(wanted) > 1 and most:
            self.missing = (
                f"{method}: {most} of {len(wanted)} models and ratios have records "
                f"under protocol {self.protocol}"
            )
        elif not most and method == self.claim.than:
            self.missing = f"no record of {method} to compare with"
        return None

    def _rows(self, method: str, model: str, ratio: str) -> Sequence[Row]:
        percent = 100.0 if method == FULL else float(ratio)
        place = Place(self.data, self.protocol, model)
        return self.index.rows.get((place, method, percent), ())

    def _in_one_setting(self, rows: Sequence[Row], model: str) -> list[Row]:
        """Return the rows of the setting that most have, or that other methods were taken from.

        A protocol or model of the same name may have had other defaults before.
        """
        counts = Counter(row["setting_id"] for row in rows)
        if counts and model not in self._settings:
            self._settings[model] = min(counts, key=lambda one: (-counts[one], one))
        return [row for row in rows if row["setting_id"] == self._settings[model]]

    def _told(self) -> str:
        claim = self.claim
        model = "" if self.models == claim.models else f", {'/'.join(self.models)}"
        data = f", {self.data.label}" if self.data.is_copy else ""
        return f"{self.protocol}{model}{data}"

    def _departures(self) -> tuple[str, ...]:
        claim = self.claim
        told = [f"data: {self.data.label}"] if self.data.is_copy else []
        if self.protocol not in claim.same_protocols:
            told.append(f"protocol: {self.protocol}")
        if self.models != claim.models:
            told.append(f"model: {'/'.join(self.models)}")
        return (*told, *claim.differs)

    def _remarks(self, ours: Sequence[Sequence[Row]]) -> tuple[str, ...]:
        reconstructed = any(row["reconstruction"] for rows in ours for row in rows)
        told = ["the method is our reconstruction"] if reconstructed else []
        if self._than != self.claim.than:
            told.append(f"compared with {self._than}")
        best = [row["best_accuracy"] for rows in ours for row in rows]
        if self.claim.compare == "value" and None not in best:
            told.append(f"by best epoch on the test split ours would be {fmean(best):.2f}")
        if self._left_out:
            told.append(f"{self._left_out} cells of other versions or defaults are not in it")
        return tuple(told)


def _times(claim: Claim, method: str, index: Index) -> Evidence | str:
    """Return the ratio of the times that making the sets took, paired by selection seed."""
    nothing = f"no record of both {method} and {claim.than} on {claim.dataset}"
    by_data = sorted({place.data for place in index.places.get(claim.dataset, ())}, key=_copy_last)
    for data in by_data:
        ours, theirs = (_selections(index, data, name) for name in (method, claim.than))
        wanted = {float(ratio) for ratio in claim.ratios}
        common = sorted(
            key for key in ours.keys() & theirs.keys() if not wanted or key[1] in wanted
        )
        if not common:
            continue
        device = max(key[0] for key in common)  # cuda, where some ran there
        common = [key for key in common if key[0] == device]
        by_seed: dict[tuple[int, int], list[float]] = defaultdict(list)
        cells: dict[str, None] = {}
        for key in common:
            by_seed[key[2], 0].append(100 * ours[key][0] / theirs[key][0])
            cells |= dict.fromkeys((*ours[key][1], *theirs[key][1]))
        effect = effect_over_seeds({seed: fmean(values) for seed, values in by_seed.items()})
        sign = {"above": 1, "below": -1}.get(claim.direction)
        ratios = "/".join(f"{percent:g}" for percent in sorted({key[1] for key in common}))
        return Evidence(
            effect=effect,
            direction=None if sign is None else _scaled(effect.minus(100), sign),
            protocol=f"selection on {device}" + (f", {data.label}" if data.is_copy else ""),
            departures=(
                *((f"data: {data.label}",) if data.is_copy else ()),
                *claim.differs,
            ),
            remarks=(f"seconds of all artefacts behind the sets, at {ratios} %",),
            cells=tuple(sorted(cells)),
        )
    return nothing


def _selections(
    index: Index, data: Data, method: str
) -> dict[tuple[str, float, int], tuple[float, list[str]]]:
    """Return mean seconds and cells by device, ratio and selection seed: of the newest version."""
    found: dict[tuple[str, float, int], list[Row]] = defaultdict(list)
    for place in index.places[data.name]:
        if place.data == data:
            for (where, name, percent), rows in index.rows.items():
                if where == place and name == method:
                    for row in rows:
                        device = row["device"].partition(":")[0]
                        found[device, percent, row["selection_seed"]].append(row)
    newest = max((row["method_version"] for rows in found.values() for row in rows), default=0)
    found = {
        key: [row for row in rows if row["method_version"] == newest] for key, rows in found.items()
    }
    return {
        key: (fmean(row["selection_s"] for row in rows), [row["id"] for row in rows])
        for key, rows in found.items()
        if rows and fmean(row["selection_s"] for row in rows) > 0
    }


def _paired(
    ours: Sequence[Sequence[Row]], theirs: Sequence[Sequence[Row]]
) -> dict[tuple[int, int], tuple[float, float]]:
    """Return both means over the members, by the seeds that all members have in both."""
    pairs = [
        matched(
            _accuracies(a),
            _accuracies(b),
            ours_seeded=a[0]["seeded"],
            theirs_seeded=b[0]["seeded"],
        )
        for a, b in zip(ours, theirs, strict=True)
    ]
    first, second = (
        _mean_over_members([{key: pair[side] for key, pair in one.items()} for one in pairs])
        for side in (0, 1)
    )
    return {key: (first[key], second[key]) for key in first}


def _accuracies(rows: Sequence[Row]) -> Values:
    return {(row["selection_seed"], row["training_seed"]): row["accuracy"] for row in rows}


def _mean_over_members(members: Sequence[Values]) -> Values:
    common = sorted(set.intersection(*(set(values) for values in members)))
    return {key: fmean(values[key] for values in members) for key in common}


def _data(row: Row, copies: Mapping[str, Copy]) -> Data:
    copy = copies.get(row["fingerprint"])
    if copy is not None and row["dataset"] in copy.datasets:
        return Data(copy.of, copy.label, row["fingerprint"], True)
    return Data(row["dataset"], row["dataset"], row["fingerprint"], False)


def _order(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def _copy_last(data: Data) -> tuple[bool, Data]:
    return data.is_copy, data


def _scaled(effect: Effect, sign: int) -> Effect:
    return Effect(sign * effect.mean, effect.error, effect.freedom, effect.n)
