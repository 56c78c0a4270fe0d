"""Each row of a table where a parameter is varied names its value."""

from __future__ import annotations

import pytest

from reports import spending, summary
from reports.ablations import ablation_tables
from reports.collection import Collection
from reports.content import contents
from reports.excerpts import with_excerpts
from reports.tables import as_text
from reports.why import number_tables

DEFAULTS = {"edition": "paper", "bins": 10, "alpha": 0.65}


@pytest.fixture
def variant(record):
    """Return a function that makes a record of a variant with all its parameters."""

    def make(spec, seed=0, percent="10", accuracy=90.0, **changes):
        made = record(spec, percent, seed, accuracy, **changes)
        given = dict(
            item.split("=") for item in spec.partition("[")[2].rstrip("]").split(",") if item
        )
        made["cell"]["method"] |= {"name": spec.partition("[")[0], "parameters": DEFAULTS | given}
        return made

    return make


def opened(records, failures=()):
    results = Collection.of(records, failures)
    (setting,) = results.settings()
    return results, setting


def called(table, column="method"):
    return [row[column] for row in table.rows]


def test_the_default_beside_other_values_of_the_same_parameter_is_named_by_its_value(variant):
    results, setting = opened([variant(spec) for spec in ("random", "dq", "dq[bins=5]")])
    expected = ["random", "dq[bins=10]", "dq[bins=5]"]
    for table in (summary.accuracy_table, spending.cost_table):
        assert called(table(results, setting)) == expected
    (table,) = ablation_tables(results, setting)
    assert called(table, "variant") == expected[1:]
    assert "Vs first: paired differences to dq[bins=10], over common seeds" in as_text(table)


def test_a_default_that_changed_is_named_by_the_value_that_it_had(variant):
    older = variant("dq")
    older["cell"]["method"]["parameters"] = DEFAULTS | {"bins": 20}
    results, setting = opened([older, variant("dq"), variant("dq[bins=5]")])
    table = summary.accuracy_table(results, setting)
    assert sorted(called(table)) == ["dq[bins=10]", "dq[bins=20]", "dq[bins=5]"]
    assert "marked #" not in as_text(table)


def test_a_failed_default_is_named_so_too(variant):
    failed = variant("dq") | {"phase": "selection", "type": "ValueError", "message": "no"}
    table = summary.accuracy_table(*opened([variant("dq[bins=5]")], [failed]))
    assert called(table) == ["dq[bins=10]", "dq[bins=5]"]


def test_where_several_parameters_differ_a_note_tells_those_of_the_default(variant):
    specs = ("dq", "dq[bins=5]", "dq[alpha=0.3]", "dq[edition=released]")
    results, setting = opened([variant(spec) for spec in specs])
    (table,) = ablation_tables(results, setting)
    assert called(table, "variant") == sorted(specs)
    assert "dq stands for dq[alpha=0.65,bins=10,edition=paper]." in table.notes


def test_the_name_in_the_table_is_one_that_bench_why_takes_and_excerpts_still_take_the_spec(
    variant, tmp_path
):
    records = [variant(spec) for spec in ("dq", "dq[bins=5]")]
    results, setting = opened(records)
    for asked in ("dq[bins=10]:10", "dq[bins=5]:10"):
        (table,) = number_tables(results, asked)
        assert table.title.startswith(asked.partition(":")[0])
    report = contents(results, records, figures=False)
    name = f"accuracy-{results.slug(setting)}"
    text = f"<!-- bench report .: table {name} of dq -->\n<!-- bench report: end -->\n"
    page = with_excerpts(text, report, tmp_path, tmp_path / "page.md")
    assert "| dq\\[bins=10\\] | 10 |" in page.text
    assert "bins=5" not in page.text


def test_variants_tell_what_their_ratio_is_of_and_how_many_pairs_a_difference_has(variant):
    records = [
        variant("dq", seed, percent, 90.0 + seed) for seed in (0, 1) for percent in ("10", "20")
    ]
    records += [variant("dq", 7, "10", 80.0, of="bytes"), variant("dq[bins=5]", 0, "10", 91.0)]
    records += [variant("dq[bins=5]", seed, "20", 91.0) for seed in (0, 1)]
    (table,) = ablation_tables(*opened(records))
    assert [(row["percent"], row["of"]) for row in table.rows].count((10.0, "bytes")) == 1
    assert "of" in [column.key for column in table.columns]
    records.append(variant("dq[bins=5]", 5, "20", 91.0))
    (table,) = ablation_tables(*opened(records))
    assert "dq[bins=5] at 20 %: 2 pairs with dq[bins=10]." in table.notes
