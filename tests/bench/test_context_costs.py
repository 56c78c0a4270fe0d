"""What an artefact costs: everyone pays for all that it is made from."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
from makers import Maker, never


def chain(ctx, make=Maker):
    """Three artefacts: the last from the second, the second from the first."""
    first = ctx.artefact("first", make())
    second = ctx.artefact("second", make(), inputs=[first])
    return first, second, ctx.artefact("third", make(), inputs=[second])


def test_who_reads_an_artefact_pays_for_all_that_it_was_made_from(context_of):
    ctx = context_of()
    artefacts = chain(ctx)
    artefacts[-1]["x"]
    assert ctx.costs.keys() == {artefact.id for artefact in artefacts}
    assert {cost["kind"] for cost in ctx.costs.values()} == {"first", "second", "third"}
    assert all(cost["seconds"] >= 0 for cost in ctx.costs.values())
    assert {cost["device"] for cost in ctx.costs.values()} == {"cpu"}


def test_a_found_artefact_costs_what_it_cost_to_make(context_of):
    first = context_of()
    chain(first)[-1]["x"]
    later = context_of(device="another")
    chain(later, lambda: never)[-1]["x"]
    assert later.costs == first.costs


def test_a_found_input_of_a_new_artefact_is_paid_too(context_of):
    first = context_of()
    chain(first)[1]["x"]
    later = context_of()
    artefacts = chain(later)
    artefacts[-1]["x"]
    assert later.costs.keys() == {artefact.id for artefact in artefacts}
    assert {key: later.costs[key] for key in first.costs} == first.costs


def test_who_reads_only_a_part_pays_only_for_it(context_of):
    chain(context_of())[-1]["x"]
    ctx = context_of()
    first, second, _ = chain(ctx, lambda: never)
    second["x"]
    assert ctx.costs.keys() == {first.id, second.id}


def test_an_artefact_that_is_needed_twice_is_paid_once(context_of):
    ctx = context_of()
    first = ctx.artefact("first", Maker())
    left, right = (ctx.artefact(kind, Maker(), inputs=[first]) for kind in ("left", "right"))
    ctx.artefact("both", Maker(), inputs=[left, right])["x"]
    assert sorted(cost["kind"] for cost in ctx.costs.values()) == ["both", "first", "left", "right"]


def test_seconds_of_an_input_made_meanwhile_are_not_counted_twice(context_of, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    ctx = context_of()

    def taking(seconds, *inputs):
        clock[0] += seconds
        for needed in inputs:
            needed["x"]
        return {"x": np.zeros(1)}

    first = ctx.artefact("first", partial(taking, 5))
    ctx.artefact("second", partial(taking, 2, first), inputs=[first])["x"]
    assert {cost["kind"]: cost["seconds"] for cost in ctx.costs.values()} == {
        "first": 5.0,
        "second": 2.0,
    }


def test_waiting_for_another_worker_is_charged_to_nobody(context_of):
    def slow():
        time.sleep(0.5)
        return {"x": np.zeros(1)}

    other = context_of()
    worker = threading.Thread(target=lambda: other.artefact("slow", slow)["x"])

    def impatient():
        worker.start()
        while not other._making:
            time.sleep(0.001)
        ours.artefact("slow", never)["x"]
        return {"x": np.zeros(1)}

    ours = context_of()
    ours.artefact("fast", impatient)["x"]
    worker.join()
    seconds = {cost["kind"]: cost["seconds"] for cost in ours.costs.values()}
    assert seconds["slow"] >= 0.5
    assert seconds["fast"] < 0.4


def test_what_is_read_without_being_declared_is_charged_too(context_of):
    def make_of(context):
        hidden = context.artefact("hidden", Maker())
        return context.artefact("open", lambda: {"x": hidden["x"]})

    fresh, cached = context_of(), context_of()
    make_of(fresh)["x"]
    make_of(cached)["x"]
    assert {cost["kind"] for cost in cached.costs.values()} == {"hidden", "open"}
    assert cached.costs == fresh.costs


def test_seconds_of_an_interrupted_attempt_are_charged(context_of):
    context = context_of()

    def make():
        context.charge(100.0, 60.0)
        return {"x": np.zeros(1)}

    context.artefact("x", make)["x"]
    (cost,) = context.costs.values()
    assert cost["seconds"] > 100.0
    assert (cost["before_s"], cost["elsewhere_s"]) == (100.0, 60.0)
