"""``bench report`` and ``bench why`` on folders of made-up records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench import consolidation
from bench.cli import cli
from bench.errors import UsageError
from bench.results import Results
from bench.storage import write_json
from reports.collection import Collection
from reports.content import contents
from reports.tables import as_json, as_text
from reports.why import number_tables

Bench = Callable[..., Result]


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    """Return a function that runs a command in the test's folder; errors for users are raised."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, catch_exceptions=False)

    return run


@pytest.fixture
def folder(records, failure, tmp_path) -> Path:
    """Give the results folder of some made-up records."""
    results = Results(tmp_path / "results")
    results.prepare()
    for kind, made in (("records", records), ("failures", [failure])):
        for one in made:
            write_json(results.folder / kind / f"{one['id']}.json", one)
    return results.folder


def test_every_format_is_written_and_named(bench: Bench, folder: Path) -> None:
    shown = bench("report", "--format", "md,html,csv,json,latex", "--no-figures")
    assert shown.exit_code == 0, shown.stderr
    for name in ("report.md", "report.html", "tables", "report.json", "report.tex"):
        assert f"results/{name}\n" in shown.stdout
        assert (folder / name).exists()
    assert (folder / "bench-macros.tex").is_file()


def test_check_passes_what_is_current_and_fails_what_is_stale(bench: Bench, folder: Path) -> None:
    with pytest.raises(UsageError, match="no report to check"):
        bench("report", "--check")
    assert bench("report", "--format", "md,csv", "--no-figures").exit_code == 0
    assert bench("report", "--check", "--no-figures").exit_code == 0
    record = next((folder / "records").glob("cell-2-dq-10-*"))
    record.unlink()
    before = (folder / "report.md").read_bytes()
    stale = bench("report", "--check", "--no-figures")
    assert stale.exit_code == 1
    assert "results/report.md is not what the records give" in stale.stderr
    assert (folder / "report.md").read_bytes() == before
    told = json.loads(bench("report", "--check", "--no-figures", "--json").stdout)
    assert "report.md" in told["stale"]
    assert bench("report", "--check", "--no-figures", "--format", "html").exit_code == 1


def test_an_unknown_format_is_refused_with_those_there_are(bench: Bench, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'html'\?"):
        bench("report", "--format", "htm")
    assert not (folder / "report.md").exists()


def test_a_pdf_is_asked_for_by_its_own_name_too(bench: Bench, folder: Path) -> None:
    assert bench("report", "--format", "pdf", "--no-figures").exit_code == 0
    assert (folder / "report.tex").exists()


def test_why_tells_the_cells_behind_a_number(bench: Bench, folder: Path) -> None:
    shown = bench("why", "dq:10:resnet8")
    assert shown.exit_code == 0
    assert "dq at 10 %, digits, resnet8, protocol smoke: 90.20 ± 0.86 %, n = 3" in shown.stdout
    for wanted in ("cell-2-dq-10-2", "2/2", "90.40", "0123456789ab", "a processor",
                   "Vs random: +0.20 ± 0.25 points over 3 pairs"):  # fmt: skip
        assert wanted in " ".join(shown.stdout.split())
    told = json.loads(bench("why", "dq:10", "--json").stdout)
    assert [row["accuracy"] for row in told["numbers"][0]["rows"]] == pytest.approx(
        [89.8, 90.4, 90.4]
    )
    with pytest.raises(UsageError, match=r"Did you mean 'dq'\?"):
        bench("why", "dqq:10")


def asked(records, failures, text) -> list[dict[str, Any]]:
    return [as_json(table) for table in number_tables(Collection.of(records, failures), text)]


def test_a_failed_number_tells_its_failures(records, failure):
    (table,) = asked(records, [failure], "dq:30")
    assert "no complete cell" in table["title"]
    assert any("in selection: ValueError: the pool" in note for note in table["notes"])


@pytest.mark.parametrize("text", ["adq:10", "adq[alpha=0.7]:10.0", "adq:10%:resnet8:smoke:digits"])
def test_names_specs_and_ratios_may_be_written_in_several_ways(records, text):
    (table,) = asked(records, [], text)
    assert table["title"].startswith("adq[alpha=0.7] at 10 %")


def test_empty_parts_stand_for_all(records):
    assert len(asked(records, [], "dq:")) == 2
    assert len(asked(records, [], ":20")) == 3


def test_of_a_name_with_several_variants_all_are_told(record):
    made = [record(spec, "10", 0, 90.0) for spec in ("adq[alpha=0]", "adq[alpha=1]", "dq")]
    assert len(asked(made, [], "adq:10")) == 2
    made.append(record("adq", "10", 0, 90.0))
    assert len(asked(made, [], "adq:10")) == 1


@pytest.mark.parametrize(
    "text",
    ["adq[alpha=0]", "adq[alpha=0.0]", "adq[alpha=0e0]", "adq[alpha=0,bins=10]",
     "adq[ alpha = 0 ]"],
)  # fmt: skip
def test_a_method_is_found_by_every_spelling_that_names_it(record, text):
    made = [record(f"adq[alpha={value}]", "20", 0, 90.0) for value in ("0.0", "1.0")]
    (table,) = asked(made, [], f"{text}:20")
    assert table["title"].startswith("adq[alpha=0.0] at 20 %")
    assert len(asked(made, [], "adq[alpha=[0,1]]:20")) == 2


def test_the_defaults_written_out_are_the_method_without_parameters(record):
    made = [record("dq", "20", 0, 90.0), record("dq[bins=5]", "20", 0, 91.0)]
    for text in ("dq[bins=10]", "dq[bins=10,edition=paper]"):
        (table,) = asked(made, [], f"{text}:20:resnet8:smoke[epochs=30]")
        assert "90.00 %" in table["title"]


@pytest.mark.parametrize("text", ["adq[alpha=0.1]", "adq[alpha=7]", "adq[aplha=1]"])
def test_no_hint_leads_to_another_number(record, text):
    made = [record(f"adq[alpha={value}]", "20", 0, 90.0) for value in ("0.0", "1.0")]
    with pytest.raises(UsageError) as told:
        asked(made, [], f"{text}:20")
    assert str(told.value).startswith(
        f"nothing is recorded of method '{text}'. Recorded: adq[alpha=0.0], adq[alpha=1.0]. Give "
    )


def test_brackets_may_hold_colons(record):
    made = [record("dq[extractor=a:b]", "10", 0, 90.0)]
    assert len(asked(made, [], "dq[extractor=a:b]:10")) == 1


def test_a_model_of_timm_is_found_by_its_short_name(record):
    models = ("timm[architecture=resnet34]", "timm[architecture=resnet26]")
    made = [record("dq", "10", 0, 90.0, specs={"model": model}) for model in models]
    assert len(asked(made, [], "dq:10:resnet34")) == 1
    assert len(asked(made, [], "dq:10:timm")) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [("dq:15", "nothing is recorded of ratio '15'. Recorded: 10, 20"),
     ("dq:10:vit", "unknown model 'vit'"), ("dq:10:a:b:c:d", "too many parts"),
     ("dq:ten", "nothing is recorded of ratio 'ten'")],
)  # fmt: skip
def test_what_is_not_there_is_refused(records, text, told):
    with pytest.raises(UsageError, match=told):
        asked(records, [], text)


def test_machines_are_told_apart(record):
    made = [record("dq", "10", seed, 90.0) for seed in range(2)]
    for one, host in zip(made, ("here", "there"), strict=True):
        one["provenance"]["machine"]["host"] = host
    (table,) = number_tables(Collection.of(made), "dq:10")
    text = as_text(table)
    told = " ".join(text.split())
    assert "on here" in told
    assert "on there" in told
    assert [row["from"] for row in table.rows] == ["[1]", "[2]"]
    assert max(map(len, text.splitlines()[1:])) <= 80


def test_two_versions_of_the_code_without_a_commit_are_told_apart(record):
    made = [record("dq", "10", seed, 90.0, digest=f"{seed}123456789abcdef") for seed in range(2)]
    for one in made:
        one["provenance"]["source"] |= {"commit": None, "uncommitted_changes": None}
    (table,) = number_tables(Collection.of(made), "dq:10")
    assert [row["from"] for row in table.rows] == ["[1]", "[2]"]
    told = "bench 0.1.0 (no commit, source {}123456789ab), torch 2.0, a processor, CPU threads: 2"
    origins = contents(Collection.of(made), made, figures=False).origins
    assert list(origins) == [told.format(seed) for seed in range(2)]
    assert told.format(1) in " ".join(as_text(table).split())


def test_a_report_without_figures_says_the_same_of_best_epochs(
    records, tmp_path, monkeypatch
) -> None:
    """It is made of records whose curves stay in the file of consolidated ones."""
    monkeypatch.setattr(consolidation, "LEAST", 1)
    results = Results(tmp_path / "results")
    results.prepare()
    for number, one in enumerate(records):
        epochs = {str(epoch): 50.0 for epoch in range(1 + number % 3)}
        metrics = one["metrics"] | {"curve": {"accuracy": epochs}}
        write_json(results.folder / "records" / f"{one['id']}.json", one | {"metrics": metrics})
    whole, light = (
        Collection.of(results.records(details=details)).rows for details in (True, False)
    )
    assert {row["tested_epochs"] for row in whole} == {1, 2, 3}
    assert light == whole
