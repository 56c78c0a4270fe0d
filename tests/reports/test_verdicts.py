"""Verdicts on made-up records whose truth is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_claims import around, claim, gain, judged

from reports.claims import Verdict


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


def test_a_few_equal_differences_decide_nothing_and_ask_for_no_number_of_seeds(rows):
    below = [84.1, 83.7, 84.4]
    found = judged(gain(), rows("a", [one + 0.1 for one in below]) + rows("b", below))
    assert found.verdict == Verdict.NOT_TESTABLE
    assert "too few seeds: 3 equal values show no spread" in found.why
    assert "would do" not in found.why


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


def test_an_open_direction_says_how_many_seeds_would_decide(rows):
    changes = {"protocol": "smoke"}
    below = around(60.0)
    made = rows("a", below + around(1.0, 5, 2.0, 1), **changes) + rows("b", below, **changes)
    found = judged(gain(), made)
    assert found.verdict == Verdict.NOT_TESTABLE
    assert "would do" in found.why


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
            "model_version": 1, "protocol_version": 1, "method_version": 1, "older": "",
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
