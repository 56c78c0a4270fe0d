"""Which records a claim is tested on, and the ledger."""

from __future__ import annotations

import json

import pytest
from made_up_claims import COPY, around, claim, gain, judged

from reports.claims import Verdict, findings, ledger
from reports.tables import as_json, as_markdown, as_text

COLUMNS = ["claim", "source", "published", "ours", "n", "protocol", "verdict", "why"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"specs": {"dataset": "imagefolder"}, "fingerprint": "files-copy"}, "a JPEG copy"),
        ({"model": "resnet8"}, "model: resnet8"),
        ({"protocol": "matched-steps"}, "protocol: matched-steps"),
    ],
)
def test_other_data_models_and_protocols_test_the_direction_only(rows, changes, told):
    below = around(60.0)
    better = rows("a", below + around(0.9, seed=1), **changes) + rows("b", below, **changes)
    for one in (claim(), gain(), gain(None)):
        found = judged(one, better)
        assert found.verdict == Verdict.REPRODUCED
        assert found.why.startswith("Direction only (")
        assert told in found.why
    worse = rows("a", below - around(0.9, seed=1), **changes) + rows("b", below, **changes)
    assert judged(gain(), worse).verdict == Verdict.NOT_REPRODUCED
    turned = gain("-2.0", direction="below")
    assert judged(turned, worse).verdict == Verdict.REPRODUCED
    alone = judged(claim(than=""), rows("a", around(86.2), **changes))
    assert alone.verdict == Verdict.NOT_TESTABLE
    assert "no direction" in alone.why
    lonely = judged(claim(), rows("a", around(86.2), **changes))
    assert lonely.verdict == Verdict.NOT_TESTABLE
    assert "no record of b" in lonely.why


def test_what_keeps_every_run_from_being_the_published_one_is_told(rows):
    one = gain(differs=("its recipe is not published",))
    below = around(84.0)
    found = judged(one, rows("a", below + around(9.0, seed=1)) + rows("b", below))
    assert found.verdict == Verdict.REPRODUCED
    assert "its recipe is not published" in found.why


def test_other_data_sets_and_budgets_are_no_test(rows):
    made = rows("a", around(86.2), specs={"dataset": "digits"})
    made += rows("a", around(86.2), model="vit")
    made += rows("a", around(86.2), percent="20")
    made += rows("a", around(86.2), of="bytes")
    found = judged(claim(), made)
    assert found.verdict == Verdict.NOT_RUN
    assert "no record of a" in found.why.lower()
    assert found.ours is None


def test_the_published_setting_is_taken_before_nearer_ones(rows):
    made = rows("a", around(50.0), protocol="matched-steps") + rows(
        "a", around(50.0), model="resnet8"
    )
    made += rows("a", around(86.2))
    found = judged(claim(), made)
    assert (found.verdict, found.protocol) == (Verdict.REPRODUCED, "paper")
    nearer = judged(claim(same_protocols=()), made[5:])
    assert nearer.protocol == "paper"


def test_a_mean_over_models_needs_them_all(rows):
    one = gain(models=("resnet18", "resnet50"), ratios=("10", "20"), margin=0.5)
    made = []
    for number, (model, percent) in enumerate((m, p) for m in one.models for p in one.ratios):
        below = around(80.0, seed=number)
        better = below + around(0.5 + number, seed=9 + number)
        made += rows("a", better, percent, model) + rows("b", below, percent, model)
    found = judged(one, made)
    assert found.ours.mean == pytest.approx(2.0)
    assert (found.verdict, found.n, len(found.cells)) == (Verdict.REPRODUCED, 5, 40)
    missing = judged(
        one, [row for row in made if (row["model"], row["percent"]) != ("resnet50", 20)]
    )
    assert missing.verdict == Verdict.NOT_RUN
    assert "3 of 4" in missing.why


def test_the_newest_version_counts_alone_however_few_its_runs_are(rows):
    made = rows("a", [10.0] * 9) + rows("a", around(86.2), version=2)
    found = judged(claim(), made)
    assert (found.verdict, found.n) == (Verdict.REPRODUCED, 5)
    assert "9 cells of other versions" in found.why


def test_an_incomplete_newer_version_takes_nothing_away(rows):
    below = around(84.1)
    complete = rows("a", below + around(2.0, seed=1)) + rows("b", below)
    newer = rows("a", [10.0], version=2)
    for row in newer:
        row["older"], row["protocol_version"], row["setting_id"] = "", 2, "newer protocol"
    for row in complete:
        row["older"] = " (protocol version 1)"
    found = judged(gain(), complete + newer)
    assert (found.verdict, found.n) == (Verdict.REPRODUCED, 5)
    assert "protocol version 1" in found.why


def test_members_of_a_mean_are_of_one_version(rows):
    both = claim(ratios=("10", "20"))
    made = [
        *rows("a", around(86.2)), *rows("a", around(86.2), percent="20"),
        *rows("a", [10.0] * 5, version=2),
    ]  # fmt: skip
    found = judged(both, made)
    assert (found.verdict, found.n) == (Verdict.REPRODUCED, 5)
    assert "5 cells of other versions" in found.why


def test_methods_are_compared_in_one_setting_only(rows):
    below = around(84.1)
    made = rows("a", below + around(2.0, seed=1)) + rows("b", below)
    for row in made[5:]:
        row["setting_id"] = "older defaults of the protocol"
    found = judged(gain(), made)
    assert found.verdict == Verdict.NOT_RUN
    assert "no record of b" in found.why.lower()


def test_an_edition_is_compared_with_its_own(rows):
    one = gain(methods=("a", "a[edition=released]"))
    below = around(84.0)
    made = rows("a[edition=released]", below + around(2.0, seed=1)) + rows("b", below - 5)
    assert judged(one, made).verdict == Verdict.SHIFTED  # against b, which is all there is
    made += rows("b[edition=released]", below)
    found = judged(one, made)
    assert (found.verdict, found.method) == (Verdict.REPRODUCED, "a[edition=released]")
    assert "b[edition=released]" in found.why
    made += rows("a", below)
    assert [one.method for one in findings([one], made, ())] == ["a", "a[edition=released]"]


def test_reconstructions_and_best_epochs_are_told(rows):
    found = judged(claim(), rows("a", around(86.2), reconstruction=True))
    assert "The method is our reconstruction." in found.why
    assert "best epoch on the test split ours would be 86.70" in found.why


def test_the_ledger_is_a_table_of_every_format(rows):
    claims = [claim(), gain(None, note="what | it says"), claim(ratios=("30",), third_party=True)]
    table = ledger(claims, rows("a", around(86.2)) + rows("b", around(84.1)), (COPY,))
    assert [column.key for column in table.columns] == COLUMNS
    assert [row["verdict"] for row in table.rows] == ["reproduced", "reproduced", "not run"]
    assert table.rows[0]["published"] == "86.2"
    assert table.rows[1]["published"] == "not published"
    assert table.rows[2]["source"] == "Made, Table 1 (third party)"
    assert table.links[0, "ours"] == tuple(table.rows[0]["cells"])
    assert (2, "ours") not in table.links
    assert table.notes[0] == "Verdicts: reproduced 2, not run 1."
    assert "86.20 ± 0.25" in as_text(table)
    assert "what \\| it says" in as_markdown(table)
    told = json.loads(json.dumps(as_json(table)))
    assert told["rows"][0]["verdict"] == "reproduced"


def test_no_claims_and_no_rows_make_an_empty_ledger():
    assert ledger([], []).rows == []
    assert ledger([], []).notes[0] == "Verdicts: none."
