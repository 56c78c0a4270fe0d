from __future__ import annotations

import random
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.figures import KINDS, drawings, figures
from reports.figures.style import looks, time_axis

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def everything(detailed):
    """Records that every figure of records can be drawn from."""
    made = [detailed("full", 100, 99.0 + 0.1 * seed, seed=seed) for seed in range(2)]
    for percent, base in ((2, 60.0), (10, 80.0)):
        for seed in range(2):
            noise = random.Random(f"{percent} {seed}").uniform(-1, 1)
            there = {"seed": seed, "selection_s": 5.0}
            made.append(detailed("random", percent, base + noise, seed=seed, selection_s=0.001))
            made.append(detailed("dq", percent, base + 1 + noise, bin_counts=[5] * 4, **there))
            for score in ("[scores=rs]", "[scores=ds]", ""):
                importance = [0.2 * seed + 0.2 * number for number in range(4)]
                made.append(
                    detailed(
                        f"adq{score}", percent, base + 2 + noise, bin_counts=[2, 4, 6, 8],
                        notes={"importance": importance}, **there,
                    )
                )  # fmt: skip
            made += [
                detailed(f"adq[alpha={alpha}]", percent, base + alpha + noise, **there)
                for alpha in (0.0, 0.3, 1.0)
            ]
            made.append(detailed("classwise", percent, base, class_counts=[5, 10, 15, 20], **there))
    return made


@pytest.fixture(scope="module")
def study():
    """A study of trajectories with known distances."""
    curve = {"relative": [0.5, 0.8, 1.0], "angle": [0.1, 0.2, 0.3]}
    return {
        "kind": "trajectory",
        "fingerprint": "made-up",
        "specs": {"dataset": "digits", "model": "resnet8", "protocol": "smoke"},
        "epochs": [1, 2, 3],
        "distances": dict.fromkeys(("low", "medium", "high", "random"), curve),
    }


@pytest.fixture(scope="module")
def drawn(everything, study, tmp_path_factory):
    """All figures of everything, drawn once."""
    return figures(everything, tmp_path_factory.mktemp("figures"), [study])


def axes_of(records, kind, studies=()):
    found = [one for one in drawings(records, studies) if one.name.split("-")[0] == kind]
    (drawing,) = found
    return drawing.canvas.axes


def points_of(axes):
    """Return the points of each labelled line with error bars."""
    return {
        container.get_label(): np.column_stack(container.lines[0].get_data())
        for container in axes.containers
    }


def test_every_figure_is_drawn_as_svg_and_pdf(drawn):
    kinds = {next(k for k in sorted(KINDS, key=len)[::-1] if f.name.startswith(k)) for f in drawn}
    assert kinds == set(KINDS)
    assert len({figure.name for figure in drawn}) == len(drawn)
    for figure in drawn:
        assert figure.path_svg.name == f"{figure.name}.svg"
        root = ElementTree.parse(figure.path_svg).getroot()
        assert root.tag == f"{SVG}svg"
        assert figure.path_pdf.read_bytes().startswith(b"%PDF")
        assert re.fullmatch(r"[A-Za-z0-9.-]+", figure.name)
        assert figure.title
        assert figure.caption.endswith(".")
        assert figure.title.partition(": ")[2] not in figure.caption  # told once, above it


def test_the_same_records_in_another_order_give_the_same_bytes(drawn, everything, study, tmp_path):
    wanted = ("bars", "bins", "trajectory")
    shuffled = list(everything)
    random.Random(3).shuffle(shuffled)
    first = [figure for figure in drawn if figure.name.startswith(wanted)]
    second = figures(shuffled, tmp_path, [study], only=wanted)
    assert [figure.name for figure in first] == [figure.name for figure in second]
    for one, other in zip(first, second, strict=True):
        assert one.path_svg.read_bytes() == other.path_svg.read_bytes()
        assert one.path_pdf.read_bytes() == other.path_pdf.read_bytes()


def test_a_users_matplotlib_settings_change_nothing(drawn, everything, tmp_path):
    import matplotlib as mpl

    plain = next(one for one in drawn if one.name.startswith("bars")).path_svg.read_bytes()
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "none"}):
        other = figures(everything, tmp_path, only=("bars",))[0].path_svg.read_bytes()
        assert mpl.rcParams["font.size"] == 20
    assert plain == other


def test_what_the_records_do_not_suffice_for_is_left_out(record, detailed, tmp_path):
    assert figures([], tmp_path) == []
    bare = [record("dq", "10", seed, 90.0) for seed in range(2)]
    assert [figure.name.split("-")[0] for figure in figures(bare, tmp_path)] == ["accuracy"]
    once = detailed("dq", 10, 90.0, tests=(30,))
    assert [figure.name.split("-")[0] for figure in figures([once], tmp_path)] == ["accuracy"]


def test_names_with_special_characters_do_no_harm(detailed, tmp_path):
    made = [
        detailed(method, percent, 90.0, seed=seed, model="a<b>&$x_1$\\y")
        for method in ("random", "odd$method$_1", "adq[scores=rs+ds]")
        for percent in (10, 20)
        for seed in range(2)
    ]
    drawn = figures(made, tmp_path)
    assert len(drawn) > 2
    for figure in drawn:
        ElementTree.parse(figure.path_svg)
        assert re.fullmatch(r"[A-Za-z0-9.-]+", figure.name)


def test_two_settings_of_the_same_names_get_files_of_their_own(detailed, tmp_path):
    made = []
    for version in (1, 2):
        for method in ("random", "dq"):
            one = detailed(method, 10, 90.0)
            one["cell"]["model"]["version"] = version
            made.append(one)
    drawn = figures(made, tmp_path, only=("accuracy", "bars"))
    assert len({figure.path_svg for figure in drawn}) == 4


def test_scores_by_bin_are_the_means_over_selections(everything):
    (drawing,) = [d for d in drawings(everything, only=("bins",)) if "-10-" in d.name]
    axes = drawing.canvas.axes
    titles = [one.get_title(loc="left") for one in axes]
    assert [title.split(" ")[0] for title in titles] == [
        "representativeness", "diversity", "importance", "images",
    ]  # fmt: skip
    (scores,) = points_of(axes[0]).values()
    assert scores == pytest.approx(np.array([[1, 0.1], [2, 0.3], [3, 0.5], [4, 0.7]]))
    drawn = points_of(axes[3])
    assert drawn["dq"][:, 1] == pytest.approx([25.0] * 4)
    assert drawn["adq"][:, 1] == pytest.approx([10.0, 20.0, 30.0, 40.0])


def test_a_selection_that_was_trained_on_twice_counts_once_in_its_scores(detailed):
    made = []
    for selection, training, importance in ((0, 0, 0.0), (0, 1, 0.0), (1, 0, 1.0)):
        one = detailed("adq", 10, 90.0, seed=training, notes={"importance": [importance, 0.5]})
        one["cell"]["selection_seed"] = selection
        one["compressed"]["bin_counts"] = [1, 1]
        one["id"] += f"-{selection}"
        made.append(one)
    (drawing,) = drawings(made, only=("bins",))
    (scores,) = points_of(drawing.canvas.axes[0]).values()
    assert scores[:, 1] == pytest.approx([0.5, 0.5])


def test_the_bins_of_what_no_budget_changes_are_told_by_the_share_that_it_kept(detailed):
    literal = detailed("adq[shares=literal]", 100, notes={"importance": [0.0, 1.0]})
    literal["method"]["budgeted"] = False
    literal["compressed"] |= {"images": 200, "full_images": 1000, "bin_counts": [50, 150]}
    (drawing,) = drawings([literal], only=("bins",))
    assert "20 % of images" in drawing.title


def test_alphas_are_drawn_where_they_belong_with_the_default_among_them(detailed):
    made = [
        detailed(method, 10, accuracy)
        for method, accuracy in (
            ("adq[alpha=0.0]", 80.0), ("adq[alpha=1.0]", 82.0), ("adq", 85.0),
            ("adq[scores=rs]", 10.0),
        )
    ]  # fmt: skip
    (axes,) = axes_of(made, "alpha")
    (points,) = points_of(axes).values()
    assert points.tolist() == [[0.0, 80.0], [0.65, 85.0], [1.0, 82.0]]


def test_of_a_crowd_the_methods_without_parameters_are_drawn_and_that_is_told(detailed):
    plain = [detailed(method, 10, 90.0) for method in ("random", "dq", "adq")]
    others = [detailed(f"dq[bins={number + 1}]", 10, 90.0) for number in range(10)]
    for made, count in ((plain + others[:2], 5), (plain + others, 3)):
        (axes,) = axes_of(made, "accuracy")
        assert len(points_of(axes)) == count
        assert ("left out" in axes.get_title(loc="left")) == (count == 3)
        (bars,) = drawings(made, only=("bars",))
        assert len(bars.canvas.axes[0].containers) == 2 * count  # bars and their intervals
        assert ("left out" in bars.caption) == (count == 3)


def test_a_long_legend_leaves_the_axes_their_height(detailed):
    def height_of_axes(count):
        made = [detailed("random", 10, 90.0)]
        made += [detailed(f"method-{number:02}", 10, 90.0) for number in range(count)]
        (drawing,) = drawings(made, only=("accuracy",))
        drawing.canvas.draw_without_rendering()
        return drawing.canvas.axes[0].get_window_extent().height

    assert height_of_axes(30) > 0.95 * height_of_axes(2)


def test_the_differences_of_the_bars_are_paired(detailed):
    made = []
    for seed, base in enumerate((70.0, 80.0, 90.0)):
        made.append(detailed("random", 10, base, seed=seed))
        made.append(detailed("dq", 10, base + 2, seed=seed))
    bars, differences = axes_of(made, "bars")
    heights = [container.patches[0].get_height() for container in bars.containers[1::2]]
    assert heights == [80.0, 82.0]
    (container,) = differences.containers
    assert container.lines[0].get_ydata() == pytest.approx([2.0])
    (low, high) = container.lines[1]
    assert low.get_ydata() == pytest.approx(high.get_ydata(), abs=1e-6)  # the same in every pair


def test_the_bar_of_what_no_budget_changes_stands_at_the_share_that_it_kept(detailed):
    made = [detailed("random", percent, 70.0) for percent in (10, 20, 100)]
    listed = detailed("indices", 100, 73.0)
    listed["method"]["budgeted"] = False
    listed["compressed"] |= {"images": 200, "full_images": 1000}
    bars, differences = axes_of([*made, listed], "bars")
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["10", "20", "100"]
    (container,) = differences.containers
    assert container.lines[0].get_data()[0] == pytest.approx([1.0])  # beside random at 20 %
    assert container.lines[0].get_data()[1] == pytest.approx([3.0])


def test_differences_of_all_methods_are_paired_and_stand_by_their_names(detailed):
    cells = [("random", 60.0), ("dq", 62.0), ("adq", 59.0), ("adq[alpha=0.3]", 60.5)]
    noise = (-3.0, 0.0, 3.0)
    records = [
        detailed(method, 10, base + noise[seed], seed=seed)
        for method, base in cells
        for seed in range(3)
    ]
    records += [detailed("dq", 20, 70.0 + noise[seed], seed=seed) for seed in range(3)]
    for record in records:
        record["method"]["reconstruction"] = record["specs"]["method"] == "adq"
    [drawing] = drawings(records, only=["differences"])
    [axes] = drawing.canvas.axes  # at 20 % there is no random
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["dq", "adq[alpha=0.3]", "adq (reconstruction)"]
    points = [container.lines[0].get_xydata()[0].tolist() for container in axes.containers]
    assert np.allclose(points, [[2.0, 0], [0.5, 1], [-1.0, 2]])
    told = [text.get_text() for text in axes.texts]
    assert told == [f"{value} (3 equal)" for value in ("+2.00", "+0.50", "−1.00")]


def test_differences_stand_by_size_at_their_first_ratio_and_nothing_is_cut(detailed):
    long = "herding[extractor=resnet18,balance=false,another=parameter]"
    bases = {
        10: {"random": 60.0, "dq": 59.0, "adq": 62.0, long: 61.0},
        20: {"random": 70.0, "adq": 70.0, "kcenter": 71.0, "dq": 73.0, "moderate": 72.0},
    }
    records = [
        detailed(method, percent, base, seed=seed)
        for percent, here in bases.items()
        for method, base in here.items()
        for seed in range(3)
    ]
    [drawing] = drawings(records, only=["differences"])
    drawing.canvas.draw_without_rendering()
    first, second = drawing.canvas.axes
    names = [label.get_text() for label in first.get_yticklabels()]
    assert [name.partition("[")[0] for name in names] == [
        "adq", "herding", "dq", "moderate", "kcenter",
    ]  # fmt: skip
    assert [len(axes.containers) for axes in (first, second)] == [3, 4]
    assert "at the first ratio that a method was run at" in drawing.caption
    whole, texts = drawing.canvas.bbox, [*first.get_yticklabels(), *first.texts, *second.texts]
    extents = [text.get_window_extent() for text in texts]
    assert all(whole.x0 <= one.x0 and one.x1 <= whole.x1 for one in extents)
    assert max(one.x1 for one in extents[5:8]) <= second.get_window_extent().x0
    assert first.get_window_extent().width > 2 * drawing.canvas.dpi


def test_intervals_of_two_pairs_do_not_set_the_range_of_the_differences(detailed):
    values = {"random": (60, 60, 60), "dq": (61, 61, 61.3), "adq": (60, 64), "el2n": (60, 60.1, 60)}
    records = [
        detailed(method, 10, value, seed=seed)
        for method, many in values.items()
        for seed, value in enumerate(many)
    ]
    [drawing] = drawings(records, only=["differences"])
    low, high = drawing.canvas.axes[0].get_xlim()
    assert -1 < low < 0
    assert 2 < high < 3
    assert "fewer than 3 pairs may go beyond the axis" in drawing.caption


def test_far_differences_are_arrows_where_they_would_squeeze_the_others(detailed):
    def axes_and_caption(far):
        bases = {"random": 60.0, "dq": 60.5, "adq": 59.0, "herding": 60.2, "d2": 61.0, "el2n": far}
        records = [
            detailed(method, 10, base + noise, seed=seed)
            for method, base in bases.items()
            for seed, noise in enumerate((-0.1, 0.0, 0.1))
        ]
        [drawing] = drawings(records, only=["differences"])
        return drawing.canvas.axes[0], drawing.caption

    axes, caption = axes_and_caption(far=30.0)
    low, high = axes.get_xlim()
    assert -2 < low < -1 < 1 < high < 2
    assert len(axes.containers) == 4
    assert axes.texts[-1].get_text().startswith("−30.00 (3 equal)")
    assert "Arrows: the mean lies beyond the axis" in caption
    axes, caption = axes_and_caption(far=58.5)
    assert axes.get_xlim()[0] < -1.5
    assert len(axes.containers) == 5
    assert "Arrows" not in caption


def test_the_least_sensitive_class_is_at_the_bottom(everything):
    left, right = axes_of(everything, "classes")
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["cat", "dog", "eel", "fox"]
    dealt = {line.get_label(): line.get_xdata() for line in right.get_lines()}
    assert dealt["classwise, 10 %"] == pytest.approx([40.0, 80.0, 120.0, 160.0])


@given(st.lists(st.text("abdq[=1]", min_size=1), unique=True, max_size=30))
def test_every_method_has_a_look_of_its_own(names):
    found = looks(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)


def test_the_papers_methods_keep_their_look_in_every_figure():
    alone, among = looks(["adq"])["adq"], looks(["a", "b", "dq", "adq", "random"])["adq"]
    assert alone == among


@given(st.floats(1e-3, 1e6), st.floats(1.1, 1e6))
def test_an_axis_of_times_always_has_some_marked(low, factor):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    axes.set_xscale("log")
    axes.set_xlim(low, low * factor)
    time_axis(axes)
    inside = [time for time in axes.get_xticks() if low <= time <= low * factor * 1.0000001]
    assert 2 <= len(inside) <= 7


def test_figures_are_not_drawn_anew_into_a_file_in_the_way(everything, tmp_path):
    from bench.errors import BenchError

    in_the_way = tmp_path / "figures"
    in_the_way.write_text("a file")
    with pytest.raises(BenchError, match="figures"):
        figures(everything, Path(in_the_way))


def test_a_legend_of_long_names_stays_within_the_figure(detailed):
    made = []
    for loss in ("cross-entropy", "double-softmax"):
        for alpha in ("released", "released-intended", "paper"):
            one = detailed("dq", 10, 90.0)
            one["specs"]["method"] = f"dq[edition={alpha},extractor_epochs=10,loss={loss}]"
            one["cell"]["method"]["parameters"] = {"edition": alpha, "loss": loss}
            made.append(one)
    (drawing,) = drawings(made, only=("bars",))
    (legend,) = drawing.canvas.legends
    drawing.canvas.draw_without_rendering()
    extent, whole = legend.get_window_extent(), drawing.canvas.bbox
    assert len(legend.get_texts()) == len(made)
    assert whole.x0 <= extent.x0
    assert extent.x1 <= whole.x1


def test_bars_stand_around_the_mark_of_their_ratio(detailed):
    made = [
        detailed(method, percent, 80.0, seed=seed)
        for method, percent in (("random", 10), ("dq", 10), ("adq", 10), ("random", 20), ("dq", 20))
        for seed in range(2)
    ]
    bars, paired = axes_of(made, "bars")
    middles = sorted(bar.get_x() + bar.get_width() / 2 for bar in bars.patches)
    assert [sum(middles[:3]) / 3, sum(middles[3:]) / 2] == pytest.approx([0, 1])
    assert sorted(one.lines[0].get_xdata()[0] for one in paired.containers)[-1] == pytest.approx(1)


def test_released_constants_are_not_called_scores(detailed):
    notes = {"importance": [1.0, 0.98, 1.18], "importance_of": "released constants"}
    made = [
        detailed("adq[edition=released]", 10, 80.0, seed=seed, bin_counts=[3, 3, 4], notes=notes)
        for seed in range(2)
    ]
    (drawing,) = drawings(made, only=("bins",))
    assert "the constants in the released code" in drawing.caption
    assert "RS" not in drawing.caption
    scores, _ = drawing.canvas.axes
    assert scores.get_ylim()[0] == 0 < 1.18 * 1.02 < scores.get_ylim()[1]


def test_a_long_title_of_a_setting_is_broken_into_lines(detailed):
    protocol = "cpu[low_share_batch_size=16,test_every=1,epochs=30,match=steps]"
    made = [detailed(name, 10, 80.0, protocol=protocol) for name in ("random", "dq")]
    (drawing,) = drawings(made, only=("accuracy",))
    drawing.canvas.draw_without_rendering()
    text = drawing.canvas.axes[0].get_title(loc="left")
    assert max(map(len, text.splitlines())) < 80
    assert "".join(text.split()).startswith("".join(f"cifar10,resnet18,protocol{protocol}".split()))
