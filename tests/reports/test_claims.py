from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.results import flat
from reports.claims import Claim, Copy, Verdict, findings, ledger, read_claims
from reports.tables import as_json, as_markdown, as_text

COPY = Copy("cifar10", "a JPEG copy", "files-copy", ("imagefolder",), "https://example.org", "")
COLUMNS = ["claim", "source", "published", "ours", "n", "protocol", "verdict", "why"]


def claim(**changes):
    """A made-up claim: method a reaches 86.2 at 10 %, above method b."""
    given = {
        "id": "made/up",
        "source": "Made",
        "paper": "Made up, 2026",
        "address": "https://example.org",
        "read": "made up for this test",
        "third_party": False,
        "where": "Table 1",
        "metric": "accuracy",
        "compare": "value",
        "methods": ("a",),
        "than": "b",
        "dataset": "cifar10",
        "models": ("resnet18",),
        "ratios": ("10",),
        "value": Decimal("86.2"),
        "margin": 1.0,
        "protocol": "as stated",
        "same_protocols": ("paper",),
        "stand_ins": ("resnet8",),
        "error_bar": "not published",
    }
    return Claim(**{**given, **changes})


def gain(value="2.0", **changes):
    """A made-up claim: a is above b by so much."""
    number = None if value is None else Decimal(value)
    return claim(**{"compare": "difference", "value": number, **changes})


@pytest.fixture
def rows(record):
    """Return a function that makes rows of one method from its accuracies by seed."""

    def make(method, accuracies, percent="10", model="resnet18", protocol="paper", **changes):
        made = []
        specs = {"dataset": "cifar10", "model": model, "protocol": protocol}
        specs |= changes.pop("specs", {})
        for seed, accuracy in enumerate(accuracies):
            one = record(method, percent, seed, float(accuracy), specs=specs, **changes)
            one["cell"]["dataset"]["fingerprint"] = changes.get("fingerprint", "md5-cifar10")
            one["cost"]["selection_s"] = changes.get("selection_s", 0.5)
            made.append(flat(one))
            made[-1]["id"] += f"-{specs['dataset']}-{model}-{protocol}"
        return made

    return make


def judged(one, rows, copies=(COPY,)):
    (found,) = findings([one], rows, copies)
    return found


def around(mean, seeds=5, deviation=0.2, seed=0):
    """Accuracies with exactly this mean and standard deviation."""
    noise = np.random.default_rng(seed).normal(size=seeds)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return mean + deviation * noise


def test_an_equal_number_is_reproduced(rows):
    found = judged(claim(), rows("a", around(86.2)) + rows("b", around(84.1, seed=1)))
    assert found.verdict == Verdict.REPRODUCED
    assert (found.n, found.protocol) == (5, "paper")
    assert found.ours.mean == pytest.approx(86.2)
    assert "within" in found.why
    assert len(found.cells) == 10


def test_a_number_one_margin_away_is_shifted(rows):
    below = rows("b", around(84.1, seed=1))
    for mean in (85.2, 87.2):
        found = judged(claim(), rows("a", around(mean)) + below)
        assert found.verdict == Verdict.SHIFTED
        assert "the direction holds" in found.why
    alone = judged(claim(than=""), rows("a", around(87.2)))
    assert alone.verdict == Verdict.SHIFTED
    assert "not shown to be outside" in alone.why


def test_a_number_far_away_without_a_direction_is_not_reproduced(rows):
    assert judged(claim(than=""), rows("a", around(89))).verdict == Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("ours", [84.1, 83.0])
def test_a_gain_that_is_not_there_is_not_reproduced(rows, ours):
    made = rows("a", around(ours)) + rows("b", around(84.1, seed=1))
    for one in (gain(), claim()):
        found = judged(one, made)
        assert found.verdict == Verdict.NOT_REPRODUCED
        assert "Direction only" not in found.why


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(2.0, "reproduced"), (1.0, "shifted"), (3.0, "shifted"), (6.0, "shifted")],
)
def test_a_gain_of_another_size_is_shifted(rows, difference, verdict):
    below = around(84.1)
    found = judged(gain(), rows("a", below + around(difference, seed=1)) + rows("b", below))
    assert found.verdict == verdict
    assert found.ours.mean == pytest.approx(difference)


def test_too_few_seeds_are_told(rows):
    one = judged(claim(), rows("a", [86.2]))
    assert one.verdict == Verdict.NOT_TESTABLE
    assert "one run has no interval" in one.why
    assert one.ours.half_width is None
    two = judged(claim(), rows("a", [85.0, 87.4]))
    assert two.verdict == Verdict.NOT_TESTABLE
    assert "n = 2" in two.why
    assert "would do" in two.why


def test_the_seeds_that_are_said_to_do_would_do(rows):
    few = judged(claim(than=""), rows("a", around(86.2, 3, 1.5)))
    assert few.verdict == Verdict.NOT_TESTABLE
    wanted = int(few.why.partition("about ")[2].split()[0])
    rng = np.random.default_rng(0)
    verdicts = [
        judged(claim(than=""), rows("a", rng.normal(86.2, 1.5, wanted))).verdict for _ in range(60)
    ]
    assert 0.65 <= np.mean([v == Verdict.REPRODUCED for v in verdicts]) <= 0.95


@pytest.mark.parametrize(
    ("truth", "wrong"),
    [(86.2, {Verdict.SHIFTED, Verdict.NOT_REPRODUCED}), (87.2, {Verdict.REPRODUCED})],
)
def test_wrong_verdicts_are_as_rare_as_the_level_says(rows, truth, wrong):
    rng = np.random.default_rng(3)
    verdicts = Counter(
        judged(claim(than=""), rows("a", rng.normal(truth, 0.8, 5))).verdict for _ in range(400)
    )
    assert sum(verdicts[one] for one in wrong) / 400 < 0.09


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


def test_an_open_direction_says_how_many_seeds_would_decide(rows):
    changes = {"protocol": "smoke"}
    below = around(60.0)
    made = rows("a", below + around(1.0, 5, 2.0, 1), **changes) + rows("b", below, **changes)
    found = judged(gain(), made)
    assert found.verdict == Verdict.NOT_TESTABLE
    assert "would do" in found.why


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


@pytest.mark.parametrize(
    ("loss", "deviation", "verdict"),
    [
        (0.0, 0.1, "reproduced"),
        (-3.0, 0.1, "reproduced"),  # better than full data is no loss
        (0.5, 0.1, "shifted"),
        (1.5, 0.1, "not reproduced"),
        (0.3, 1.0, "not testable"),
    ],
)
def test_no_loss_is_shown_up_to_the_margin(rows, loss, deviation, verdict):
    one = claim(compare="no loss", value=None, than="full", ratios=("60",), margin=0.5)
    full = around(95.0)
    made = rows("full", full, percent="100")
    for row in made:
        row["seeded"] = False
    made += rows("a", full - around(loss, 5, deviation, 1), percent="60")
    found = judged(one, made)
    assert found.verdict == verdict
    assert found.n == 5


def test_ratios_of_times_are_tested_by_a_factor(rows):
    one = claim(
        metric="selection time", compare="ratio", value=Decimal(100), factor=1.25, ratios=(),
        models=(), direction="", margin=None,
    )  # fmt: skip
    theirs = rows("b", [1, 2, 3], selection_s=10.0) + rows("b", [1, 2], "20", selection_s=20.0)

    def ours(seconds):
        made = rows("a", [1, 2, 3], selection_s=seconds)
        made += rows("a", [1, 2, 3], "30", selection_s=1e6)  # nothing to compare with
        for number, row in enumerate(made):
            row["selection_s"] *= 1 + 0.01 * number
        return made

    assert judged(one, ours(10.5) + theirs).verdict == Verdict.REPRODUCED
    assert judged(one, ours(20.0) + theirs).verdict == Verdict.NOT_REPRODUCED
    assert judged(one, theirs).verdict == Verdict.NOT_RUN
    found = judged(
        replace(one, value=Decimal("1.1"), direction="below", factor=2.0), ours(0.3) + theirs
    )
    assert found.verdict == Verdict.SHIFTED
    assert found.ours.mean == pytest.approx(3.03)
    assert "at 10 %" in found.why


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


def test_runs_of_other_versions_are_not_pooled(rows):
    made = rows("a", around(86.2)) + rows("a", [10.0, 10.0], version=2)
    found = judged(claim(), made)
    assert (found.verdict, found.n) == (Verdict.REPRODUCED, 5)
    assert "2 cells of other versions" in found.why


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


def test_what_cannot_be_tested_says_why(rows):
    found = judged(claim(untestable="no such data set"), rows("a", around(86.2)))
    assert (found.verdict, found.why) == (Verdict.NOT_TESTABLE, "No such data set.")


@settings(max_examples=60)
@given(st.floats(-8, 8), st.floats(0.01, 3), st.integers(1, 12), st.integers(0, 99), st.booleans())
def test_verdicts_keep_their_word(difference, deviation, seeds, seed, same):
    accuracies = np.random.default_rng(seed).normal(80, 1, seeds)
    noise = np.random.default_rng(seed + 100).normal(difference, deviation, seeds)
    protocol = "paper" if same else "smoke"

    def row(method, k, accuracy):
        return {
            "id": f"{method}{k}", "method": method, "method_id": method, "setting_id": protocol,
            "dataset": "cifar10", "fingerprint": "x", "percent": 10.0, "of": "images",
            "model": "resnet18", "protocol": protocol, "seeded": True, "reconstruction": False,
            "selection_seed": k, "training_seed": k, "accuracy": accuracy,
            "best_accuracy": accuracy, "device": "cpu", "selection_s": 1.0,
        }  # fmt: skip

    made = [row("b", k, v) for k, v in enumerate(accuracies)]
    made += [row("a", k, v + d) for k, (v, d) in enumerate(zip(accuracies, noise, strict=True))]
    found = judged(gain(), made)
    low, high = noise.mean() - 2.0 - 1.0, noise.mean() - 2.0 + 1.0
    if seeds == 1:
        assert found.verdict == Verdict.NOT_TESTABLE
    elif same:
        assert found.verdict != Verdict.REPRODUCED or low < 0 < high
        assert found.verdict != Verdict.SHIFTED or found.ours.mean > 0
        assert found.verdict != Verdict.NOT_REPRODUCED or found.ours.mean < 2.0
    else:
        other = judged(gain("7.0"), made)  # the size plays no part
        assert other.verdict == found.verdict
        assert found.verdict != Verdict.REPRODUCED or found.ours.mean > 0
        assert found.verdict != Verdict.NOT_REPRODUCED or found.ours.mean < 1.0
        assert found.verdict != Verdict.SHIFTED


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


def test_the_margin_of_a_difference_never_reaches_nothing():
    assert gain("0.6", margin=None).tolerance == (-0.3, 0.3)
    assert gain("4.0", margin=None).tolerance == (-1.0, 1.0)
    assert gain(None, margin=None).tolerance == (-0.5, 0.5)
    assert claim(margin=None).tolerance == (-1.0, 1.0)


SOURCE = """[source]
id = "x"
name = "X"
paper = "p"
address = "https://example.org"
read = "r"
third_party = false
[[group]]
where = "Table 1"
metric = "accuracy"
compare = "value"
dataset = "cifar10"
protocol = "p"
error_bar = "not published"
models = ["resnet18"]
ratios = ["10", "20"]
"""


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('claims = [{ methods = ["a"], values = [1.0] }]', "1 values for 2 ratios"),
        ('claims = [{ methods = ["a"], values = [1, 2], valeu = 3 }]', "Did you mean 'value'"),
        ('claims = [{ methods = ["a"], values = [1, 2], metric = "acc" }]', "unknown metric"),
        ('claims = [{ methods = ["a"] }]', "a value without a number"),
        ('claims = [{ methods = ["a"], value = 1, compare = "difference" }]', "Give than"),
        ("claims = [{ methods = [], value = 1 }]", "no method"),
        ('claims = [{ methods = ["a"], value = 1, margin = 0 }]', "Give a margin > 0"),
        ('claims = [{ methods = ["a"], value = 1, ratios = [] }]', "no ratio"),
        ("claims = [{ value = 1 }]", "says too little"),
        ('claims = [{ methods = ["a"], value = 1 }, { methods = ["a"], value = 2 }]', "twice"),
        ("claims = [", "no valid TOML"),
    ],
)
def test_wrong_files_are_refused_with_what_is_wrong(tmp_path, lines, told):
    path = tmp_path / "x.toml"
    path.write_text(SOURCE + lines, encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        read_claims([path])


def test_files_that_are_not_there_or_empty_are_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_claims([tmp_path / "none.toml"])
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(UsageError, match="source"):
        read_claims([tmp_path / "empty.toml"])


def test_values_are_one_claim_for_each_ratio_as_printed(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(SOURCE + 'claims = [{ methods = ["a"], values = [45, 45.10] }]')
    claims = read_claims([path])
    assert [(one.ratios, one.published) for one in claims] == [(("10",), "45"), (("20",), "45.10")]
