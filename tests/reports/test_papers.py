from __future__ import annotations

import json
import re

import numpy as np
import pytest

from reports import papers, tables
from reports.runs import series_of
from reports.tables import as_json

# ADQ, Table 1, as printed: 10, 20, 30 and 100 % for DM, DQ and ADQ, and ADQ's differences.
TABLE_ONE = {
    "resnet18": (
        (74.0, 82.2, 82.8), (84.1, 87.6, 91.0), (86.2, 90.4, 94.2), 95.6, (2.1, 2.8, 3.2),
    ),
    "resnet50": (
        (35.0, 36.2, 43.9), (82.7, 88.1, 90.8), (84.7, 90.7, 93.7), 95.5, (2.0, 2.6, 2.9),
    ),
    "vit": ((21.6, 25.5, 23.1), (58.4, 66.8, 72.0), (61.1, 69.8, 74.7), 80.2, (2.7, 3.1, 2.7)),
    "swin": ((25.1, 30.1, 27.3), (69.2, 79.1, 84.4), (73.2, 82.5, 88.5), 90.3, (4.0, 3.4, 4.1)),
    "convnext": (
        (41.8, 48.3, 47.9), (52.8, 61.8, 64.2), (55.0, 64.0, 68.1), 73.0, (2.2, 2.2, 3.9),
    ),
}  # fmt: skip
AVERAGES = {
    "DM": ("39.5", "44.5", "45.0"), "DQ": ("69.4", "76.7", "80.5"), "ADQ": ("72.0", "79.5", "83.8"),
}  # fmt: skip
AVERAGE_GAINS = ("(+2.6)", "(+2.8)", "(+3.3)")
RATIOS = (10, 20, 30)
TRANSFORMERS = ("vit", "swin", "convnext")


@pytest.fixture
def printed(detailed):
    """ADQ's own Table 1 as records; its transformers under their own recipe."""
    made = []
    for model, (dm, dq, adq, full, _) in TABLE_ONE.items():
        protocol = "transformer" if model in TRANSFORMERS else "paper"
        there = {"model": model, "protocol": protocol}
        made.append(detailed("full", 100, full, **there))
        for method, row in (("dm", dm), ("dq", dq), ("adq", adq)):
            made += [detailed(method, r, a, **there) for r, a in zip(RATIOS, row, strict=True)]
    return made


def by_heading(table):
    """Return the table's texts by architecture: a list of (heading, text)."""
    headings = [column.heading for column in table.columns]
    return {texts[0]: list(zip(headings[1:], texts[1:], strict=True)) for texts in table.texts()}


def test_table_one_is_rebuilt_from_the_papers_own_numbers(printed):
    (table,) = papers.table_one(series_of(printed))
    shown = by_heading(table)
    assert list(shown) == [*TABLE_ONE, "Average"]
    off = []
    for model, (dm, dq, adq, full, gains) in TABLE_ONE.items():
        line = shown[model]
        told = [text for heading, text in line if not heading.startswith("vs")]
        assert told == [f"{value:.1f}" for value in (*dm, *dq, *adq, full)]
        for ratio, text, gain in zip(
            RATIOS, [t for h, t in line if h == "vs DQ"], gains, strict=True
        ):
            if text != f"({gain:+.1f})":
                off.append((model, ratio, text))
    assert off == [("vit", 20, "(+3.0)")]  # printed (+3.1); 69.8 - 66.8 = 3.0


def test_table_ones_averages_are_as_printed(printed):
    (table,) = papers.table_one(series_of(printed))
    line = by_heading(table)["Average"]
    texts = {h: t for h, t in line if not h.startswith("vs")}
    for method, averages in AVERAGES.items():
        assert tuple(texts[f"{method} {ratio}"] for ratio in RATIOS) == averages
    assert texts["full 100"] == "86.9"
    gains = [text for heading, text in line if heading == "vs DQ"]
    assert gains[:2] == list(AVERAGE_GAINS[:2])
    assert gains[2] == "(+3.4)"  # printed (+3.3): the difference of rounded averages


def test_the_report_tells_where_the_papers_arithmetic_is_off(printed):
    (table,) = papers.table_one(series_of(printed))
    told = " ".join(table.notes)
    for wanted in ("(+3.1)", "+3.0", "(+3.3)", "+3.36"):
        assert wanted in told
    mean = np.mean([adq[2] - dq[2] for _, dq, adq, *_ in TABLE_ONE.values()])
    assert f"{mean:+.2f}" == "+3.36"


def test_table_one_against_random_pairs_by_seed_and_knows_its_cells(detailed):
    made = []
    for seed, base in enumerate((80.0, 85.0, 84.0)):
        made += [
            detailed("random", 10, base, seed=seed),
            detailed("dq", 10, base + 1, seed=seed),
            detailed("adq", 10, base + (2, 3, 4)[seed], seed=seed),
        ]
    (table,) = papers.table_one(series_of(made), "random")
    row = table.rows[0]
    assert row["percent"] == 10
    assert row["dq gain"].mean == pytest.approx(1.0)
    assert row["dq gain"].half_width == pytest.approx(0.0)
    assert row["adq gain"].mean == pytest.approx(3.0)
    assert row["adq gain"].half_width == pytest.approx(2.4841, abs=1e-3)  # t(2) / sqrt(3)
    assert len(table.links[0, "adq"]) == 3
    assert all("-adq-10-" in cell for cell in table.links[0, "adq"])
    json.dumps(as_json(table))


def test_table_one_against_random_averages_each_ratio_over_the_architectures(detailed):
    made = [
        detailed(method, ratio, 50.0 + ratio + gain, model=model)
        for method, gain in (("random", 0), ("dq", 2), ("adq", 4))
        for ratio in (10, 20)
        for model in ("resnet18", "vit")
    ]
    (table,) = papers.table_one(series_of(made), "random")
    told = [(row["architecture"], row["percent"], row["adq"].mean) for row in table.rows]
    assert told[-2:] == [("Average", 10, 64.0), ("Average", 20, 74.0)]
    assert [column.heading for column in table.columns] == [
        "architecture", "kept %", "random", "DQ", "vs random", "ADQ", "vs random",
    ]  # fmt: skip


def test_an_average_has_an_interval_over_the_seeds_that_all_architectures_have(detailed):
    made = [
        detailed(method, 10, base + seed + gain, seed=seed, model=model)
        for method, gain in (("dq", 0), ("adq", 2))
        for model, base in (("resnet18", 80.0), ("vit", 60.0))
        for seed in range(3)
    ]
    (table,) = papers.table_one(series_of(made))
    average = table.rows[-1]
    assert average["dq 10"].mean == pytest.approx(71.0)
    assert average["dq 10"].half_width == pytest.approx(2.4841, abs=1e-3)  # t(2) / sqrt(3)
    assert average["adq 10 gain"].half_width == pytest.approx(0.0)
    (table,) = papers.table_one(series_of(made[:-1]))
    assert table.rows[-1]["adq 10"].mean == pytest.approx((83 + 62.5) / 2)
    assert table.rows[-1]["adq 10"].half_width is None


def test_budgets_of_bytes_are_not_mixed_into_the_papers_tables(detailed):
    made = [detailed(method, 10, 50.0) for method in ("random", "dq", "adq")]
    for one in [detailed(method, 10, 90.0) for method in ("random", "dq", "adq")]:
        one["cell"]["budget"]["of"] = "bytes"
        made.append(one)
    for table in papers.paper_tables(series_of(made)):
        assert "90.0" not in str(table.texts())


def test_protocols_and_data_sets_never_share_a_table_but_for_the_transformers(detailed):
    made = [
        detailed(method, 10, 50.0, protocol=protocol)
        for method in ("dq", "adq")
        for protocol in ("paper", "matched-steps")
    ]
    made += [detailed(m, 10, 50.0, model="vit", protocol="transformer") for m in ("dq", "adq")]
    shown = {
        table.title.split("protocol ")[1]: table for table in papers.table_one(series_of(made))
    }
    assert set(shown) == {"paper", "matched-steps"}
    assert [row["architecture"] for row in shown["paper"].rows] == ["resnet18", "vit", "Average"]
    assert [row["architecture"] for row in shown["matched-steps"].rows] == ["resnet18"]
    for one in made[-2:]:  # another size of the same files
        one["specs"] |= {"dataset": "cifar10[size=64]"}
    for table in papers.table_one(series_of(made)):
        assert [row["architecture"] for row in table.rows] == ["resnet18"]
    alone = papers.table_one(series_of(made[-2:]))
    assert [row["architecture"] for row in alone[0].rows] == ["vit"]


def test_an_average_stands_only_where_every_architecture_has_the_number(detailed):
    made = [detailed(m, 10, 50.0, model=n) for m in ("dq", "adq") for n in ("resnet18", "vit")]
    made.append(detailed("dq", 20, 60.0))
    (table,) = papers.table_one(series_of(made))
    assert table.rows[-1]["dq 10"].mean == 50.0
    assert table.rows[-1].get("dq 20") is None


def test_ablations_are_no_method_of_table_one_and_extractors_are_told(detailed):
    made = [
        detailed(method, 10, 50.0)
        for method in (
            "dq[extractor=resnet18]", "adq[extractor=resnet18]", "adq[alpha=0.3]", "adq[scores=rs]",
        )
    ]  # fmt: skip
    (table,) = papers.table_one(series_of(made))
    assert [column.heading for column in table.columns] == [
        "architecture",
        "DQ 10",
        "ADQ 10",
        "vs DQ",
    ]
    assert any("dq is dq[extractor=resnet18]" in note for note in table.notes)


def test_a_released_edition_is_compared_with_the_released_edition(detailed):
    made = [
        detailed("dq", 10, 50.0), detailed("adq", 10, 51.0),
        detailed("dq[edition=released]", 10, 60.0), detailed("adq[edition=released]", 10, 63.0),
    ]  # fmt: skip
    (table,) = papers.table_one(series_of(made))
    assert table.rows[0]["adq 10 gain"].mean == pytest.approx(1.0)
    assert table.rows[0]["adq[edition=released] 10 gain"].mean == pytest.approx(3.0)


def test_table_two_keeps_the_three_costs_apart(detailed):
    shared = {"bins": {"kind": "bins", "seconds": 6.0, "device": "cpu"}}
    made = []
    for seed in range(2):
        own = {f"scores-{seed}": {"kind": "scores", "seconds": 1.0, "device": "cuda:0"}}
        made += [
            detailed("dq", 10, 90.0 + seed, seed=seed, artefacts=shared, selection_s=6.0),
            detailed(
                "adq", 10, 91.0, seed=seed, artefacts=shared | own, selection_s=7.0, training_s=5.0
            ),
            detailed("dm", 10, 70.0, seed=seed, selection_s=700.0),
        ]
    (table,) = papers.table_two(series_of(made))
    rows = {row["method"]: row for row in table.rows}
    assert rows["adq"]["cold"] == 7.0
    assert rows["adq"]["amortised"] == pytest.approx(6 / 4 + 1)  # bins in four runs, scores in one
    assert rows["dq"]["amortised"] == pytest.approx(6 / 4)
    assert rows["adq"]["evaluation"] == pytest.approx(5.02)
    assert rows["adq"]["of_dm"] == pytest.approx(0.01)
    assert rows["dm"]["of_dm"] is None
    assert rows["adq"]["devices"] == "cpu+cuda"
    assert rows["dq"]["runs"] == 2
    assert rows["dq"]["error"] == pytest.approx(6.353, abs=1e-2)  # t(1) * 0.7071 / sqrt(2)
    json.dumps(as_json(table))


def test_table_three_gives_the_gains_of_the_papers_own_numbers(detailed):
    printed = {
        "dq": (84.1, 87.6, 91.0),
        "adq[scores=rs]": (85.1, 88.8, 93.0),
        "adq[scores=ds]": (85.3, 88.9, 93.1),
        "adq": (86.2, 90.4, 94.2),
    }
    made = [
        detailed(method, ratio, value)
        for method, row in printed.items()
        for ratio, value in zip(RATIOS, row, strict=True)
    ]
    (table,) = papers.table_three(series_of([*made, detailed("full", 100, 95.6)]))
    gains = {row["module"]: row.get("mean gain") for row in table.rows}
    assert gains["DQ"] is None
    assert [f"{gains[m].mean:.2f}" for m in ("+ RS", "+ DS", "+ IS (RS + DS)")] == [
        "1.40", "1.53", "2.70",
    ]  # fmt: skip
    assert [row["100"].mean for row in table.rows] == [95.6] * 4
    told = " ".join(table.notes)
    assert "2.57" in told
    assert "2.70" in told


def test_the_budgets_kept_are_told_in_images_and_bytes(detailed):
    literal = detailed("adq[edition=literal]", 100, 90.0, class_counts=[200, 150, 177, 200])
    literal["compressed"] |= {"images": 727, "bytes": 47_255}
    literal["method"]["budgeted"] = False
    (table,) = papers.budget_tables(series_of([detailed("dq", 10, 90.0), literal]))
    rows = {row["method"]: row for row in table.rows}
    assert rows["dq"]["off"] == pytest.approx(0.0)
    assert rows["adq[edition=literal]"]["off"] is None
    assert rows["adq[edition=literal]"]["asked"] == "whatever is asked"
    assert rows["adq[edition=literal]"]["bytes_share"] == pytest.approx(72.7)
    assert (rows["adq[edition=literal]"]["fewest"], rows["adq[edition=literal]"]["most"]) == (
        150,
        200,
    )


def test_what_spends_bytes_is_off_by_bytes_and_a_note_tells_it(detailed):
    smaller = detailed("jpeg", 10, 80.0, class_counts=[250] * 4)
    smaller["compressed"] |= {"images": 1000, "bytes": 6_500}
    smaller["method"]["keeps"] = "bytes"
    (table,) = papers.budget_tables(series_of([detailed("dq", 10, 90.0), smaller]))
    (row,) = [row for row in table.rows if row["method"] == "jpeg"]
    assert (row["images"], row["off"]) == (1000, pytest.approx(0.0))
    assert [note for note in table.notes if note.startswith("jpeg: the ratio counts bytes")]
    (table,) = papers.budget_tables(series_of([detailed("dq", 10, 90.0)]))
    assert not [note for note in table.notes if "the ratio counts bytes" in note]


def test_overlaps_are_those_of_the_stored_selections(detailed):
    kept = {"dq": np.arange(0, 100), "adq": np.arange(50, 150), "dm": None}
    made = [detailed(method, 10, 90.0) for method in kept]
    released = {
        "cifar10": {"dq": np.arange(0, 90), "far too many": np.arange(900)},
        "cifar100": {"of other data": np.arange(0, 90)},
    }
    (table,) = papers.overlap_tables(
        series_of(made), lambda record: kept[record["specs"]["method"]], released
    )
    rows = {row["pair"]: row for row in table.rows}
    assert set(rows) == {"dq / adq", "dq / released/dq", "adq / released/dq"}
    assert rows["dq / adq"]["common"].mean == 50
    assert rows["dq / adq"]["jaccard"].mean == pytest.approx(50 / 150)
    assert rows["dq / adq"]["expected"] == pytest.approx(10.0)
    assert rows["adq / released/dq"]["common"].mean == 40
    assert len(table.links[0, "common"]) == 2
    json.dumps(as_json(table))


def test_overlaps_are_those_of_equal_seeds_and_a_method_without_seeds_stands_for_all(detailed):
    made = [detailed(name, 10, 90.0, seed=s) for name in ("dq", "adq") for s in range(3)]
    made.append(detailed("herding", 10, 90.0))
    made[-1]["method"]["seeded"] = False
    start = {"dq": 0, "adq": 50, "herding": 10}

    def kept(record):
        name, seed = record["specs"]["method"], record["cell"]["selection_seed"]
        shift = seed * (10 if name == "adq" else 0)
        return np.arange(start[name] + shift, start[name] + shift + 100)

    (table,) = papers.overlap_tables(series_of(made), kept)
    rows = {row["pair"]: row for row in table.rows}
    assert (rows["dq / adq"]["common"].mean, rows["dq / adq"]["n"]) == (40, 3)
    assert (rows["adq / herding"]["common"].mean, rows["adq / herding"]["n"]) == (50, 3)
    assert (rows["dq / herding"]["common"].half_width, rows["dq / herding"]["n"]) == (0, 3)
    assert len(table.links[0, "common"]) == 6


def test_index_files_in_the_results_folder_are_compared(tmp_path):
    place = tmp_path / "released" / "cifar10"
    place.mkdir(parents=True)
    np.save(place / "dq-0.125.npy", np.array([5, 3, 4]))
    (place / "broken.npy").write_bytes(b"no")
    left_out = []
    (found,) = papers.released_indices(tmp_path, left_out.append).items()
    assert (found[0], list(found[1])) == ("cifar10", ["dq-0.125"])
    assert found[1]["dq-0.125"].tolist() == [5, 3, 4]
    assert [re.search(r"(\w+).npy is no index file", told)[1] for told in left_out] == ["broken"]


def test_too_few_records_make_no_table(detailed):
    for records in ([], [detailed("random", 10, 50.0)], [detailed("adq", 10, 50.0)]):
        assert papers.paper_tables(series_of(records)) == []


def test_the_tables_render_in_every_text_format(printed):
    for table in papers.paper_tables(series_of(printed)):
        assert tables.as_text(table)
        assert tables.as_markdown(table).count("|") > 50
