"""How values are shown."""

from __future__ import annotations

import pytest

from bench.metering import told_bytes
from reports import durations, tables
from reports.latex import as_macros
from reports.statistics import t_interval


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.004, "4 ms"),
        (0.5, "0.5 s"),
        (42.3, "42 s"),
        (300, "5 min"),
        (9000, "2.5 h"),
        (9e6, "2,500.0 h"),
    ],
)
def test_durations_are_told_in_fitting_units(value, shown):
    assert durations.duration(value) == shown


def test_an_interval_of_a_time_has_the_times_unit():
    assert durations.duration(131.0, 69.0) == "131 s"
    assert durations.duration(0.04, 1.5) == "40 ms"  # not 0.0 s, which would be too sure
    assert durations.duration(1.6, 186.0) == "1.6 s"
    assert durations.duration(0.0, 186.0) == "0 ms"
    assert durations.duration(20.0, 600.0) == "0.3 min"
    assert durations.duration(1800.0, 9000.0) == "0.5 h"


def test_equal_values_are_told_as_such_and_not_as_an_interval_of_no_length():
    equal = t_interval([0.1, 0.1, 0.1])
    assert tables.difference(equal) == "+0.10 (3 equal)"
    assert tables.percent(t_interval([90.0, 91.0])) == "90.50 ± 6.35"
    assert tables.percent(t_interval([90.0])) == "90.00"
    column = tables.Column("x", "x", tables.percent, word="acc")
    table = tables.Table("t", [column], [{"x": equal}], keys=[("here", "dq", "10")])
    told = as_macros([table])
    for number in ("{acc}{0.10}", "{acc-pm}{0}", "{acc-runs}{3}"):
        assert f"{{here}}{{dq}}{{10}}{number}" in told


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (9, "9 B"),
        (9360, "9.36 kB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (153_650_000, "154 MB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_sizes_are_told_in_fitting_units(value, shown):
    assert told_bytes(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12, "12"), (117_300, "117,300"), (12.5, "12.5"), (10.0, "10"), (12_345.0, "12,345"),
     (1_281_167.0, "1,281,167")],
)  # fmt: skip
def test_thousands_of_numbers_are_separated(value, shown):
    assert tables.number(value) == shown


@pytest.mark.parametrize(
    ("text", "name"),
    [("adq[alpha=0.7], ResNet 18", "adq-alpha-0.7-ResNet-18"), ("naïve", "naive"),
     ("../../x", "x"), ("中", "unnamed"), ("", "unnamed")],
)  # fmt: skip
def test_names_of_files_are_ascii(text, name):
    assert tables.ascii_name(text) == name


def test_specs_are_folded_after_commas_and_brackets():
    column = tables.Column("method", "method", left=True)
    rows = [{"method": "dm[extractor=convnet3[width=32],iterations=300]"}]
    wide = tables.Column("x", "x" * 60)
    text = tables.as_text(tables.Table("t", (column, wide), rows))
    folded = [line.split()[0] for line in text.splitlines()[4:-1]]
    assert folded == ["dm[extractor=", "convnet3[", "width=32],", "iterations=300]"]
