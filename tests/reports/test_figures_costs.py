"""Accuracy against cost with its front, and after how many trainings a selection is repaid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.figures import drawings
from reports.figures.costs import Point, break_even, front


def test_break_even_is_where_both_ways_take_the_same_time():
    assert break_even(selection=100.0, full=30.0, reduced=5.0) == pytest.approx(4.0)
    assert break_even(selection=100.0, full=5.0, reduced=5.0) is None
    assert break_even(selection=0.0, full=5.0, reduced=1.0) == 0.0


def test_a_selection_that_is_never_repaid_is_told(detailed):
    made = [detailed("full", 100, 99.0, training_s=10.0), detailed("dq", 10, 90.0, training_s=10.0)]
    (drawing,) = drawings(made, only=("break-even",))
    assert "never" in drawing.caption


def test_a_selection_that_costs_nothing_is_at_the_edge(detailed):
    made = [
        detailed("full", 100, 99.0, training_s=10.0),
        detailed("indices", 10, 90.0, training_s=1.0, selection_s=0.0),
    ]
    (drawing,) = drawings(made, only=("break-even",))
    assert "Marks at the left edge: 0.01 or less." in drawing.caption
    (axes,) = drawing.canvas.axes
    (place,) = [line for line in axes.lines if line.get_marker() not in ("None", None, "")]
    assert place.get_xdata()[0] == axes.get_xlim()[0] == pytest.approx(0.01)


@given(
    st.lists(
        st.builds(Point, st.integers(1, 9).map(float), st.integers(1, 9).map(float)), min_size=1
    )
)
def test_the_pareto_front_is_what_nothing_beats(points):
    kept = set(front(points))
    for point in points:
        beaten = any(
            other.seconds <= point.seconds and other.accuracy >= point.accuracy and other != point
            for other in points
        )
        assert (point in kept) == (not beaten)


def test_of_a_crowd_the_costs_of_all_are_drawn_and_the_front_is_that_of_all(detailed):
    costs = {"training_s": 10.0, "selection_s": 5.0}
    made = [detailed("random", 10, 80.0, **costs), detailed("dq", 10, 81.0, **costs)]
    made += [detailed(f"el2n[epochs={n}]", 10, 70.0 + 2 * n, **costs) for n in range(1, 9)]
    made.append(detailed("ccs[epochs=10]", 10, 95.0, training_s=9.0, selection_s=1.0))
    (drawing,) = drawings(made, only=("cost",))
    (axes,) = drawing.canvas.axes
    named = {one.get_label(): one for one in axes.lines}
    shown = [*named["with parameters"].get_ydata()]
    (below,) = [one for one in axes.lines if one.get_marker() == "v"]
    assert len(shown) + len(below.get_ydata()) == 9
    assert [*named["Pareto front"].get_ydata()] == [95.0]
    assert max(shown) == 95.0 < axes.get_ylim()[1]
    assert set(below.get_ydata()) == {axes.get_ylim()[0]}
    assert "Grey: methods with parameters" in drawing.caption
    assert "Triangles at the lower edge" in drawing.caption
