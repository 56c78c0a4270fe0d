"""Reaches name each place of a map with each place that a kernel lets it read, once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.models import reaches

SIDES = {"side": st.integers(1, 12), "kernel": st.sampled_from([1, 3, 5, 7])}


def pairs(side, kernel, stride):
    """All (place made, place of the kernel, place read) whose place read is in the map."""
    return {
        (made, place, made * stride + place - kernel // 2)
        for made in range((side + stride - 1) // stride)
        for place in range(kernel)
        if 0 <= made * stride + place - kernel // 2 < side
    }


def spelled_out(found):
    """The (place made, place of the kernel, place read) of some reaches."""
    for reach in found:
        read = range(reach.read.start, reach.read.stop)
        made = range(reach.made.start, reach.made.stop, reach.made.step)
        assert len(read) == reach.step * (len(made) - 1) + len(reach.kernel)
        for number, place_made in enumerate(made):
            for further, place in enumerate(reach.kernel):
                yield place_made, place, read[number * reach.step + further]


@given(**SIDES, stride=st.integers(1, 4))
def test_reaches_are_the_pairs_inside_the_map_in_both_directions(side, kernel, stride):
    expected = sorted(pairs(side, kernel, stride))
    assert sorted(spelled_out(reaches.forward(side, kernel, stride))) == expected
    turned = spelled_out(reaches.backward(side, kernel, stride))
    assert sorted((read, place, made) for made, place, read in turned) == expected


@given(**SIDES, stride=st.integers(1, 4))
def test_each_place_of_the_kernel_has_its_pairs(side, kernel, stride):
    made_places, places = range((side + stride - 1) // stride), range(side)
    found = {
        (made, place, read)
        for place, (some, others) in enumerate(reaches.by_kernel(side, kernel, stride))
        for made, read in zip(made_places[some], places[others], strict=True)
    }
    assert found == pairs(side, kernel, stride)


@given(**SIDES)
def test_inside_a_map_all_places_are_one_reach(side, kernel):
    assert len(reaches.forward(side, kernel, 1)) == min(side, kernel)
