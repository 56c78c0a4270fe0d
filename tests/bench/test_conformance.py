"""The conformance kit: each broken toy is caught by exactly the lines that tell its fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from toy_methods import (
    BROKEN,
    DrawsFromTheSharedGenerator,
    FailsAtHundredPercent,
    Good,
    KeepsTheBestOfAll,
    LoadsADataSet,
    Synthetic,
)

from bench.components import Component
from bench.conformance import Verdict, check, data, subjects
from bench.conformance.properties import PROPERTIES
from bench.contract import METHODS, CompressedSet, Keeps, Method, MethodInfo
from bench.datasets import DATASETS
from bench.errors import DataError, UsageError


def failures(method: Method) -> dict[str, str]:
    return {f.name: f.told for f in check(method) if f.verdict is Verdict.FAIL}


@pytest.mark.parametrize("toy", [Good, Synthetic])
def test_a_good_method_passes_every_property(toy):
    findings = list(check(toy()))
    assert {f.name: f.told for f in findings if f.verdict is not Verdict.PASS} == {}
    assert [f.name for f in findings] == [p.name for p in PROPERTIES]


@pytest.mark.parametrize(("toy", "properties"), BROKEN, ids=[toy.__name__ for toy, _ in BROKEN])
def test_a_broken_method_is_caught_by_the_lines_that_tell_its_fault(toy, properties):
    told = failures(toy())
    assert set(told) == properties, told
    assert all("\n" not in line for line in told.values())


def test_every_property_has_a_method_that_it_catches():
    assert set().union(*(caught for _, caught in BROKEN)) == {p.name for p in PROPERTIES}


def test_an_exception_is_told_with_its_place():
    told = failures(FailsAtHundredPercent())["runs"]
    assert told.startswith("at 100 %: IndexError: index 121 is out of bounds")


def told_of(method: Method) -> dict[str, tuple[str, str]]:
    return {f.name: (f.verdict.value, f.told) for f in check(method)}


def test_what_was_not_declared_is_not_judged():
    @dataclass(frozen=True)
    class Undeclared(KeepsTheBestOfAll):
        balanced = None

        @property
        def keeps(self):
            return Keeps.ITS_OWN_COUNT

        def pick(self, train, budget, values):
            return super().pick(train, budget, values)[:-2]

    told = told_of(Undeclared())
    assert told["balance"] == ("not applicable", "the method declares no class balance")
    assert told["count"][0] == told["bytes"][0] == "not applicable"
    assert told["count"][1].endswith("keeps: 22, 6, 13, 38, 79, 119 images")
    assert "FAIL" not in {verdict for verdict, _ in told.values()}


def test_a_method_without_progress_cannot_be_interrupted_and_one_without_choice_has_one_set():
    @dataclass(frozen=True)
    class Everything(Method):
        info = MethodInfo("all", "none", 2026, "baseline", "here", seeded=False, budgeted=False)

        def compress(self, train, budget, ctx):
            return CompressedSet(np.arange(len(train)))

    told = told_of(Everything())
    skipped = {name for name, (verdict, _) in told.items() if verdict == "not applicable"}
    assert skipped == {"bytes", "balance", "other-seed", "resume"}
    assert {verdict for verdict, _ in told.values()} == {"pass", "not applicable"}


def test_a_method_that_keeps_everything_need_not_depend_on_its_seed():
    @dataclass(frozen=True)
    class Shrinks(Good):
        @property
        def keeps(self):
            return Keeps.BYTES

        def compress(self, train, budget, ctx):
            everything = np.arange(len(train))
            return CompressedSet(everything, images=train.images // 2, stored_bytes=1)

    told = told_of(Shrinks())
    assert told["other-seed"] == (
        "not applicable", "it kept every image, so that there was nothing to draw"
    )  # fmt: skip
    assert told["form"][1].startswith("reconstructed images")


@pytest.mark.parametrize(("lines", "verdict"), [(1, "pass"), (2, "pass"), (3, "FAIL")])
def test_a_short_clear_refusal_of_degenerate_data_passes(lines, verdict):
    @dataclass(frozen=True)
    class Refuses(Good):
        def brightness(self, train):
            if train.class_counts.min() == 0:
                raise DataError("\n".join(["a class is empty", "Remove it", "Please"][:lines]))
            return super().brightness(train)

    told = told_of(Refuses())
    assert told["empty-class"][0] == verdict
    assert told["single-image-class"][0] == "pass"
    if verdict == "pass":
        assert told["empty-class"][1].startswith("it refuses: a class is empty")


def test_a_method_that_lacks_something_is_refused_with_its_own_words():
    @dataclass(frozen=True)
    class Lacks(Good):
        def brightness(self, train):
            raise UsageError("the weights are not there. Fetch them")

    with pytest.raises(UsageError, match="weights are not there"):
        list(check(Lacks()))


def test_the_check_leaves_the_shared_generators_alone():
    np.random.seed(5)
    torch.manual_seed(5)
    expected = np.random.random(), torch.rand(1)
    np.random.seed(5)
    torch.manual_seed(5)
    failures(DrawsFromTheSharedGenerator())
    assert (np.random.random(), torch.rand(1)) == expected


def test_data_sets_can_be_loaded_again_after_a_check():
    before = {name: DATASETS.get(name).load for name in DATASETS.names()}
    failures(LoadsADataSet())
    assert before == {name: DATASETS.get(name).load for name in DATASETS.names()}


class TestData:
    def test_the_classes_are_uneven_and_a_nearest_mean_tells_them_apart(self):
        ordinary = data.ordinary()
        flat = ordinary.images.reshape(len(ordinary), -1).astype(float)
        means = np.stack([flat[ordinary.labels == label].mean(0) for label in range(4)])
        nearest = ((flat[:, None] - means) ** 2).sum(2).argmin(1)
        assert ordinary.class_counts.tolist() == list(data.COUNTS)
        assert (nearest == ordinary.labels).mean() > 0.95
        assert list(ordinary.keys) == sorted(ordinary.keys)
        assert (np.diff(ordinary.labels) != 0).sum() > 50

    def test_a_method_gets_as_many_classes_as_it_needs(self):
        ten = data.ordinary(10)
        assert len(ten.classes) == len(set(ten.classes)) == 10
        assert sorted({13, 42} & set(ten.class_counts.tolist())) == [13, 42]
        assert list(ten.keys) == sorted(ten.keys)
        assert len(data.ordinary(1)) == 13

    def test_the_variants_are_what_their_names_say(self):
        ordinary = data.ordinary()
        assert sorted(data.permuted(ordinary).keys) == list(ordinary.keys)
        assert data.permuted(ordinary).keys != ordinary.keys
        shuffled = data.shuffled_labels(ordinary)
        assert shuffled.class_counts.tolist() == ordinary.class_counts.tolist()
        assert (shuffled.labels == ordinary.labels).mean() < 0.5
        assert data.empty_class(ordinary).class_counts.tolist() == [13, 0, 37, 42]
        assert data.single_image_class(ordinary).class_counts.tolist() == [13, 1, 37, 42]
        assert len(np.unique(data.identical_images(ordinary).images, axis=0)) == 1
        assert data.grey_images(ordinary).shape == (8, 8, 1)


class TestSubjects:
    @pytest.fixture
    def slow(self, monkeypatch):
        @dataclass(frozen=True)
        class Slow(Good):
            quick: ClassVar[dict[str, int]] = {"steps": 20}
            presets: ClassVar[dict[str, dict[str, int]]] = {"released": {"steps": 5000}}
            edition: str = "paper"
            steps: int = 20_000

        monkeypatch.setitem(METHODS._classes, "slow", Slow)
        monkeypatch.setattr(Slow, "name", "slow")
        return Slow

    @pytest.mark.parametrize(
        ("spec", "steps", "words"),
        [
            ("slow", 20, "slow, checked as slow[steps=20]"),
            ("slow[steps=30]", 30, "slow[steps=30]"),
            ("slow[steps=20000]", 20_000, "slow"),
            ("slow[edition=released]", 20,
             "slow[edition=released], checked as slow[edition=released,steps=20]"),
        ],
    )  # fmt: skip
    def test_quick_values_hold_unless_the_user_typed_others(self, slow, spec, steps, words):
        (subject,) = subjects(spec)
        assert subject.method.values()["steps"] == steps
        assert subject.words == words

    def test_each_method_is_named_once_and_grids_are_spread(self):
        asked = [s.asked for s in subjects("random,dq,random,adq[alpha=[0.1,0.2]]")]
        assert asked == ["random", "dq", "adq[alpha=0.1]", "adq[alpha=0.2]"]

    def test_a_reconstruction_is_called_one(self):
        (asked,) = subjects("dqas")
        assert asked.words.startswith("dqas, checked as dqas[")
        assert asked.words.endswith("] (reconstruction)")
        assert subjects(asked.method.spec)[0].words == f"{asked.method.spec} (reconstruction)"

    def test_components_need_no_quick_values(self):
        assert not hasattr(Component, "quick")
        assert subjects("random")[0].method == METHODS.make_one("random")


@pytest.mark.parametrize(
    "name", ["random", "herding", "dq", "classwise[base=random,allocation=released-adq]"]
)
def test_ours_pass(name):
    assert failures(subjects(name)[0].method) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in METHODS.names() if not METHODS.get(n).info.required])
def test_all_of_ours_pass(name):
    assert failures(subjects(name)[0].method) == {}


STANDING_IN = "extractor=resnet8,mae=small"
"""What editions with pretrained weights are checked with."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        "random[edition=released]",
        "graphcut[edition=released,extractor=resnet8]",
        f"dq[edition=released,{STANDING_IN}]",
        f"dq[edition=released,drop=0.2,{STANDING_IN}]",
        f"adq[edition=released,{STANDING_IN}]",
        f"adq[edition=released,drop=0.2,{STANDING_IN}]",
        f"adq[edition=released-intended,{STANDING_IN}]",
        "adq[edition=literal]",
        *(f"adq[scores={scores}]" for scores in ("none", "rs", "ds", "released")),
        "adq[diversity=gram]",
        "dq[balance=false]",
        "dq[drop=0.25]",
        "adq[drop=0.25]",
        "dqas[over=bins]",
        "dm[edition=released]",
        "dm[init=noise]",
        *(f"classwise[base={base}]" for base in ("adq", "random", "dm")),
        *(f"classwise[allocation={rule}]" for rule in ("error", "released-adq", "uniform")),
        "d2[kernel=exponential]",
        "el2n[networks=2]",
        "jpeg[headers=each]",
    ],
)
def test_editions_and_stages_of_ours_pass(spec):
    assert failures(subjects(spec)[0].method) == {}
