from __future__ import annotations

import pytest

from bench.storage import write_json
from reports.allocations import allocation_tables


def record(job, device="gpu", asked=7200.0, given=3600.0, used=1800.0):
    share = {"device": device, "asked_s": asked, "allocated_s": given, "used_s": used}
    return {"provenance": {"slurm": {"SLURM_ARRAY_JOB_ID": job}}, "allocation": share}


def account(folder, job, device="gpu"):
    told = {"device": device, "asked_s": 36000, "allocated_s": 18000, "used_s": 9000}
    write_json(folder / "accounting" / f"{job}.json", told | {"wasted_s": 9000})


def test_a_folder_without_slurm_has_no_such_table(tmp_path):
    assert allocation_tables([{"provenance": {}}], tmp_path, print) == []
    assert allocation_tables([], None, print) == []


def test_without_accounting_the_records_tell():
    (table,) = allocation_tables([record("7"), record("7", used=5400.0)], None, print)
    (row,) = table.rows
    assert (row["job"], row["device"], row["cells"]) == ("7", "gpu", 2)
    assert (row["asked"], row["recorded"], row["used"], row["wasted"]) == (4, 2, 2, 0)
    assert row["accounted"] is None


def test_sacct_stands_beside_the_records_and_kinds_are_added_up(tmp_path):
    account(tmp_path, "7")
    account(tmp_path, "6", device="job")  # made artefacts: no record tells of it
    (table,) = allocation_tables([record("7"), record("10")], tmp_path, print)
    assert [row["job"] for row in table.rows] == ["6", "7", "10", "all", "all"]
    assert [row["cells"] for row in table.rows] == [0, 1, 1, 2, 0]
    seven, total = table.rows[1], table.rows[3]
    assert (seven["accounted"], seven["recorded"], seven["wasted"]) == (5, 1, 2.5)
    assert total["accounted"] == pytest.approx(5)
    assert total["asked"] == pytest.approx(12)
    assert all(len(line) == len(table.columns) for line in table.texts())


def test_many_hours_are_told_with_thousands_separated():
    (table,) = allocation_tables([record("7", used=4_444_000.0)], None, print)
    (row,) = table.texts()
    assert "1,234" in row


def test_a_damaged_account_is_told_and_left_out(tmp_path):
    account(tmp_path, "7")
    (tmp_path / "accounting" / "8.json").write_text("{")
    left_out = []
    (table,) = allocation_tables([], tmp_path, left_out.append)
    assert [row["job"] for row in table.rows] == ["7"]
    assert "8.json" in left_out[0]
