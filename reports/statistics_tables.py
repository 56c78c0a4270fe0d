"""Tables of what the statistics say: comparisons, firmness of orders, best-epoch optimism."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from reports.claims import dataset_label
from reports.statistics import (
    POWER,
    Effect,
    Runs,
    effect_over_seeds,
    holm,
    kendall_tau,
    matched,
    minimum_detectable_difference,
    optimism,
    paired_effect,
    rank_stability,
    seeds_needed,
)
from reports.tables import Column, Table, difference, number

Row = Mapping[str, Any]
_FULL = "full"


class _Place(NamedTuple):
    """Data, model and budget: where methods can be compared under each protocol."""

    data: str
    fingerprint: str
    model: str
    percent: float
    of: str

    @property
    def words(self) -> str:
        data = dataset_label(self.data, self.fingerprint)
        return f"{data}, {self.model}, {self.percent:g} %{' of bytes' * (self.of == 'bytes')}"


class _Method(NamedTuple):
    spec: str
    method_id: str
    setting_id: str
    seeded: bool


_Groups = dict[tuple[_Place, str], dict[_Method, list[Row]]]


def comparisons_table(
    rows: Iterable[Row], baselines: Sequence[str] = ("random", "dq"), level: float = 0.05
) -> Table:
    """Return how every method compares with baselines under the same budget and training.

    Parameters
    ----------
    rows : iterable of mappings
        As :func:`bench.results.flat` makes them of records.
    baselines : sequence of str
        Specs of the methods to compare with.
    """
    made: list[dict[str, Any]] = []
    p_values: dict[int, float] = {}
    for (place, protocol), methods in _grouped(rows).items():
        for theirs in (m for name in baselines for m in methods if m.spec == name):
            for ours in methods:
                if ours.spec in baselines[: baselines.index(theirs.spec) + 1]:
                    continue
                effect = _effect(methods, ours, theirs)
                if effect is None:
                    continue
                p_values[len(made)] = effect.p_value()
                made.append(
                    {
                        "place": f"{place.words}, {protocol}",
                        "method": ours.spec,
                        "than": theirs.spec,
                        "difference": effect.estimate(),
                        "n": effect.n,
                        **_reach(effect),
                    }
                )
    for place_of_row, p in holm(p_values).items():
        made[place_of_row]["p"] = p if made[place_of_row]["n"] > 1 else None
    shown = sum(row["p"] is not None and row["p"] < level for row in made)
    notes = [
        f"Shown at the {level:.0%} level after Holm's correction over the table: "
        f"{shown} of {len(made)}.",
        "Difference: method minus the other, last epoch, paired over n common seeds, ± half of its "
        "95 % interval. Where: data, network, ratio, protocol.",
        "p: two-sided t test, corrected for the number of comparisons (Holm).",
        f"Detectable: the smallest true difference that n pairs show in {POWER:.0%} of all cases, "
        "at the spread seen here. Pairs needed: to show the difference seen here as often.",
    ]
    return Table("Comparisons", _COMPARISONS, made, notes, name="comparisons")


def orders_table(rows: Iterable[Row]) -> Table:
    """Return how firm the order of the methods is, and whether protocols agree on it."""
    groups = _grouped(rows)
    made: list[dict[str, Any]] = []
    means: dict[_Place, dict[str, dict[str, float]]] = defaultdict(dict)
    for (place, protocol), methods in groups.items():
        runs = _alike(methods)
        if len(runs) < 2:
            continue
        means[place][protocol] = {name: effect_over_seeds(one).mean for name, one in runs.items()}
        stability = rank_stability(runs)
        if stability is None:
            continue
        first = min(stability.ranks, key=lambda name: stability.ranks[name].rank)
        made.append(
            {
                "place": place.words,
                "between": f"{protocol}, other seeds",
                "methods": len(runs),
                "n": stability.seeds,
                "tau": stability.agreement if stability.seeds > 1 else None,
                "first": first,
                "best": stability.ranks[first].best if stability.seeds > 1 else None,
            }
        )
    for place, by_protocol in means.items():
        for ours, theirs in combinations(sorted(by_protocol), 2):
            made.append(
                {
                    "place": place.words,
                    "between": f"{ours} / {theirs}",
                    "methods": len(by_protocol[ours].keys() & by_protocol[theirs].keys()),
                    "tau": kendall_tau(by_protocol[ours], by_protocol[theirs]),
                }
            )
    notes = [
        "tau: Kendall's tau-b between two orders of the methods by mean accuracy: 1 the same, 0 "
        "nothing in common, -1 reversed.",
        "Other seeds: mean tau between the order and those of seeds drawn with replacement (n of "
        "them, common to all methods); first: how often the first method stays first. Neither has "
        "an interval. Between: protocols.",
    ]
    return Table("How firm the orders are", _ORDERS, made, notes, name="orders")


def optimism_table(rows: Iterable[Row]) -> Table:
    """Return what reporting the best epoch on the test split adds."""
    made: list[dict[str, Any]] = []
    for (place, protocol), methods in _grouped(rows).items():
        last = {method.spec: _runs(group) for method, group in methods.items()}
        best = {method.spec: _runs(group, "best_accuracy") for method, group in methods.items()}
        found = optimism(last, best)
        for name, gain in found.by_method.items():
            made.append(
                {
                    "place": f"{place.words}, {protocol}",
                    "method": name,
                    "gain": gain,
                    "n": gain.n,
                    "spread": found.spread if len(last) > 1 else None,
                    "tau": found.agreement,
                }
            )
    notes = [
        "Best epoch minus last epoch, both on the test split: what a report of the best epoch "
        "adds to every number; ± half of its 95 % interval over n runs. Where: data, network, "
        "ratio, protocol.",
        "Spread: the largest minus the smallest mean of the methods beside each other; a "
        "comparison of their best epochs can be off by that much.",
        "tau: Kendall's tau-b between the methods' orders by last and by best epoch.",
    ]
    return Table("Optimism of the best epoch", _OPTIMISM, made, notes, name="optimism")


def _grouped(rows: Iterable[Row]) -> _Groups:
    """Return rows by place, protocol and method; full data stands for itself and is left out.

    Of a method with several identities the one with most rows is taken.
    """
    found: dict[tuple[_Place, str], dict[_Method, list[Row]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        if row["method"] != _FULL:
            place = _Place(
                row["dataset"], row["fingerprint"], row["model"], row["percent"], row["of"]
            )
            method = _Method(row["method"], row["method_id"], row["setting_id"], row["seeded"])
            found[place, row["protocol"]][method].append(row)
    return {where: _one_each(methods) for where, methods in sorted(found.items())}


def _one_each(methods: Mapping[_Method, list[Row]]) -> dict[_Method, list[Row]]:
    settings: dict[str, int] = defaultdict(int)
    for method, rows in methods.items():
        settings[method.setting_id] += len(rows)
    setting = min(settings, key=lambda one: (-settings[one], one))
    kept: dict[str, _Method] = {}
    for method in sorted(m for m in methods if m.setting_id == setting):
        if method.spec not in kept or len(methods[method]) > len(methods[kept[method.spec]]):
            kept[method.spec] = method
    return {method: methods[method] for method in kept.values()}


def _effect(
    methods: Mapping[_Method, Sequence[Row]], ours: _Method, theirs: _Method
) -> Effect | None:
    return paired_effect(
        _runs(methods[ours]),
        _runs(methods[theirs]),
        ours_seeded=ours.seeded,
        theirs_seeded=theirs.seeded,
    )


def _alike(methods: Mapping[_Method, Sequence[Row]]) -> dict[str, Runs]:
    """Return the methods' runs; those without selection seeds stand for each of the others'."""
    seeded = [_runs(rows) for method, rows in methods.items() if method.seeded]
    pairs = {key: 0.0 for runs in seeded for key in runs}
    runs: dict[str, Runs] = {}
    for method, rows in methods.items():
        own: Runs = _runs(rows)
        if not method.seeded and pairs:
            spread = matched(pairs, own, theirs_seeded=False)
            own = {key: value for key, (_, value) in spread.items()}
        if own:
            runs[method.spec] = own
    return runs


def _runs(rows: Sequence[Row], key: str = "accuracy") -> dict[tuple[int, int], float]:
    return {(row["selection_seed"], row["training_seed"]): row[key] for row in rows}


def _reach(effect: Effect) -> dict[str, float | int | None]:
    if not effect.deviation:
        return {"detectable": None, "needed": None}
    return {
        "detectable": minimum_detectable_difference(effect.deviation, effect.n),
        "needed": seeds_needed(effect.mean, effect.deviation) if effect.mean else None,
    }


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


_COMPARISONS = (
    Column("method", "method", left=True),
    Column("than", "against", left=True),
    Column("place", "where", left=True),
    Column("difference", "difference", difference),
    Column("n", "n", number),
    Column("p", "p (Holm)", _p),
    Column("detectable", "detectable", "{:.2f}".format),
    Column("needed", "pairs needed", number),
)
_ORDERS = (
    Column("place", "where", left=True),
    Column("between", "between", left=True),
    Column("methods", "methods", number),
    Column("n", "n", number),
    Column("tau", "tau", "{:+.2f}".format),
    Column("first", "first", left=True),
    Column("best", "stays first", "{:.0%}".format),
)
_OPTIMISM = (
    Column("method", "method", left=True),
    Column("place", "where", left=True),
    Column("gain", "best − last", difference),
    Column("n", "n", number),
    Column("spread", "spread", "{:.2f}".format),
    Column("tau", "tau", "{:+.2f}".format),
)
