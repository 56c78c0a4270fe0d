"""What lies beside the records and cannot be used is named; the report goes on without it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.results import Results
from bench.storage import write_json
from reports.report import stale_files, write_report

BROKEN = ("released/digits/x.npy", "studies/trajectory-1.json", "pictures/dq.jpg",
          "accounting/7.json")  # fmt: skip


@pytest.fixture
def spoiled(tmp_path):
    Results(tmp_path).prepare()
    for name in BROKEN:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"no")
    return tmp_path


def test_each_broken_file_is_named_and_no_table_is_lost(spoiled, record):
    records = [record("dq", "10", 0, 90.0)]
    write_report(spoiled, records)
    text = (spoiled / "report.md").read_text(encoding="utf-8")
    told = [line for line in text.splitlines() if line.startswith("Left out of this report: ")]
    assert len(told) == len(BROKEN)
    assert all(any(name in line for line in told) for name in BROKEN)
    assert str(spoiled) not in text  # a copied folder's report is not stale
    assert "| dq | 10 |" in text
    assert stale_files(spoiled, records) == {}


def test_the_command_goes_on_too(spoiled, records):
    for record in records:
        write_json(spoiled / "records" / f"{record['id']}.json", record)
    done = CliRunner().invoke(cli, ["report", "--results", str(spoiled), "--no-figures"])
    assert (done.exit_code, done.output) == (0, f"{spoiled / 'report.md'}\n")
