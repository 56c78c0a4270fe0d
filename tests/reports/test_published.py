from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import methods  # noqa: F401  (registers the methods that claims name)
from bench.budgets import Budget
from bench.contract import METHODS
from bench.datasets import DATASETS
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from reports.arithmetic import Agreement, agreement, arithmetic_table, checks, statements
from reports.claims import read_claims
from reports.copies import PUBLISHED, read_copies
from reports.tables import as_markdown

CLAIMS = read_claims()


def test_every_file_is_read():
    sources = {path.stem for path in PUBLISHED.glob("*.toml")} - {"copies"}
    assert {one.id.partition("/")[0] for one in CLAIMS} == {
        name.replace("dq-third-party", "dq-summary") for name in sources
    }


@pytest.mark.parametrize("one", CLAIMS, ids=lambda one: one.id)
def test_every_claim_says_where_it_is_from_and_names_what_there_is(one):
    assert one.address.startswith("https://")
    assert min(map(len, (one.read, one.where, one.protocol, one.error_bar, one.paper))) > 2 or (
        one.error_bar.replace(".", "").isdigit()
    )
    for ratio in one.ratios:
        assert Budget.parse(ratio).label == ratio
    if one.untestable:
        return
    assert one.dataset in DATASETS.names()
    for spec in filter(None, (*one.methods, one.than)):
        assert METHODS.make_one(spec).spec == spec
    for spec in (*one.models, *one.stand_ins):
        assert MODELS.make_one(spec).spec == spec
    for spec in one.same_protocols:
        assert PROTOCOLS.make_one(spec).spec == spec
    low, high = one.tolerance
    assert low < 0 < high
    if one.compare == "difference" and one.value:
        assert -low < abs(one.value)  # no gain at all is never the same as the claimed one


def found(source, where, method, model, ratio, compare="value", than=None):
    (one,) = [
        c
        for c in CLAIMS
        if (c.source, c.where, c.methods[0], c.models, c.ratios, c.compare)
        == (source, where, method, (model,), (ratio,), compare)
        and (than is None or c.than == than)
    ]
    return one.value


def test_numbers_stand_as_they_are_printed():
    assert found("ADQ", "Table 1", "adq", "swin", "30") == Decimal("88.5")
    assert found("ADQ", "Table 1", "dm", "vit", "30") == Decimal("23.1")
    assert found("ADQ", "Table 1", "adq", "vit", "20", "difference") == Decimal("3.1")
    assert found("ADQ", "Table 3", "adq[scores=rs]", "resnet18", "30") == Decimal("93.0")
    assert found("DQ", "README, figs/effects.png", "dq", "resnet18", "60") == Decimal("95.4")
    where = "readme, Basic experiments (DM)"
    assert found("DM", where, "dm[edition=released]", "convnet3", "25") == Decimal("80.8")
    assert found("CCS", "text", "forgetting", "resnet18", "10") == Decimal("34.03")


def test_the_tables_are_whole():
    table = [c for c in CLAIMS if (c.source, c.where) == ("ADQ", "Table 1")]
    single = [c for c in table if len(c.models) == 1]
    assert sum(c.compare == "value" for c in single) == 5 * (3 * 3 + 1)
    assert sum(c.compare == "difference" for c in single) == 5 * 3
    assert len(table) - len(single) == 3 * 3 + 1 + 3  # the averages and their differences
    assert sum((c.source, c.where) == ("ADQ", "Table 3") for c in CLAIMS) == 4 * 3 + 1


def test_what_was_not_found_is_not_filled_in():
    times = [c for c in CLAIMS if c.source == "ADQ" and c.metric == "selection time"]
    assert {str(c.value) for c in times} == {"1.1", "100"}  # the hours of Table 2 are lost
    assert all(c.error_bar == "not published" for c in CLAIMS if c.source == "ADQ")
    assert all(c.value is None for c in CLAIMS if c.source == "DQAS")
    assert all(c.third_party for c in CLAIMS if c.source == "BGFDQ")


def test_copies_are_of_data_sets_that_there_are():
    for copy in read_copies():
        assert copy.of in DATASETS.names()
        assert copy.fingerprint.startswith("files-")
        assert all(DATASETS.make_one(spec).spec == spec for spec in copy.datasets)


def test_the_papers_arithmetic_is_off_where_it_is_known_to_be():
    by_finding: dict[Agreement, set[tuple[str, str]]] = {one: set() for one in Agreement}
    for check in checks(CLAIMS):
        by_finding[check.agreement].add((check.printed, f"{float(check.follows):.2f}"))
    assert by_finding[Agreement.OFF] == {("+2.57", "2.70")}
    assert by_finding[Agreement.ROUNDING] == {("+1.41", "1.40"), ("+3.1", "3.00"), ("+3.3", "3.36")}
    assert len(by_finding[Agreement.EXACT]) > 20


def test_the_averages_of_table_1_are_right():
    averages = [c for c in checks(CLAIMS) if "mean of" in c.what and "−" not in c.what]
    assert len(averages) == 10
    assert {c.agreement for c in averages} == {Agreement.EXACT}


def test_sentences_are_held_against_the_tables():
    told = {one.what: one.holds for one in statements(CLAIMS)}
    assert sum(not holds for holds in told.values()) == 1
    assert not told["ImageNet-1K comprises 128,1126 samples for training"]
    assert statements([]) == []
    assert len(statements([c for c in CLAIMS if c.source == "DM"])) == 1


def test_the_table_names_the_worst_first_and_renders():
    table = arithmetic_table()
    assert table.rows[0]["printed"] == "+2.57"
    assert "2.60 … 2.80" in as_markdown(table)
    assert "28 of 32" in table.notes[0]


exact = st.integers(0, 100_000).map(lambda thousandths: Fraction(thousandths, 1000))


def rounded(value: Fraction, digits: int) -> Decimal:
    as_decimal = Decimal(value.numerator) / Decimal(value.denominator)
    return as_decimal.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


@given(st.lists(st.tuples(exact, exact), min_size=1, max_size=5), st.integers(0, 2))
def test_honest_rounding_is_never_called_wrong(pairs, digits):
    printed_pairs = [(rounded(a, 1), rounded(b, 1)) for a, b in pairs]
    printed = rounded(sum((a - b for a, b in pairs), Fraction(0)) / len(pairs), digits)
    follows = sum((a - b for a, b in printed_pairs), Decimal(0)) / len(pairs)
    assert agreement(printed, follows, Decimal("0.1")) != Agreement.OFF


@given(exact, st.integers(1, 500))
def test_a_number_off_by_more_than_rounding_is_called_wrong(value, hundredths):
    follows = rounded(value, 1)
    printed = follows + Decimal(hundredths) / 100 + Decimal("0.05")
    assert agreement(printed, follows, Decimal("0.05")) == Agreement.OFF
