"""The conformance kit: each broken toy is caught by exactly the lines that tell its fault."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from bench.checkpoints import TrainingState
from bench.components import Component
from bench.conformance import Verdict, check, data, subjects
from bench.conformance.properties import PROPERTIES
from bench.contract import METHODS, CompressedSet, Keeps, Method, MethodInfo
from bench.datasets import DATASETS, Source
from bench.errors import DataError, UsageError

PASSES = 5
BROKEN: list[tuple[type[Method], set[str]]] = []


def caught_by(*properties: str) -> Callable[[type[Method]], type[Method]]:
    """Enter a broken toy with the properties that must fail, and no others."""

    def enter(toy: type[Method]) -> type[Method]:
        BROKEN.append((toy, set(properties)))
        return toy

    return enter


@dataclass(frozen=True)
class Good(Method):
    """Keeps the images of each class with the highest scores: bright ones, with seeded noise."""

    info: ClassVar[MethodInfo] = MethodInfo("toy", "none", 2026, "selection", "here")
    balanced: ClassVar[bool | None] = True

    def artefacts(self, train, ctx):
        return [self.scored(train, ctx)]

    def scored(self, train, ctx):
        return ctx.artefact("scores", lambda: {"values": self.scores(train, ctx)})

    def scores(self, train, ctx):
        """Go on from the checkpoint, a pass at a time, as a training run would."""
        total, done = self.restored(len(train), ctx)
        for number in range(done + 1, PASSES + 1):
            total = total + self.noise(len(train), number, ctx)
            state = TrainingState(number, {"total": torch.from_numpy(total)})
            ctx.checkpoint().save(state)
            ctx.progress("scores", number, PASSES)
        return total + self.brightness(train)

    def restored(self, count, ctx):
        state = ctx.checkpoint().load()
        return (
            (np.zeros(count), 0) if state is None else (state.tensors["total"].numpy(), state.epoch)
        )

    def noise(self, count, number, ctx):
        return ctx.generator("pass", number).random(count) / 100

    def brightness(self, train):
        return train.images.reshape(len(train), -1).mean(axis=1) / 255

    def compress(self, train, budget, ctx):
        values = self.scored(train, ctx)["values"]
        return CompressedSet(self.pick(train, budget, values), notes={"toy": True})

    def pick(self, train, budget, values):
        kept = []
        for label, count in enumerate(budget.images_by_class(train.class_counts)):
            members = np.flatnonzero(self.labels(train) == label)
            kept.append(self.pick_class(members, values[members], int(count)))
        return np.concatenate(kept)

    def pick_class(self, members, values, count):
        return members[np.argsort(-values, kind="stable")[:count]]

    def labels(self, train):
        return train.labels


@caught_by("runs")
@dataclass(frozen=True)
class FailsAtHundredPercent(Good):
    def pick(self, train, budget, values):
        kept = super().pick(train, budget, values)
        return kept if len(kept) < len(train) else kept[len(train)]


@caught_by("runs")
@dataclass(frozen=True)
class ReturnsAList(Good):
    def compress(self, train, budget, ctx):
        return super().compress(train, budget, ctx).indices.tolist()


@caught_by("form")
@dataclass(frozen=True)
class KeepsAnImageTwice(Good):
    def pick(self, train, budget, values):
        kept = super().pick(train, budget, values)
        return np.concatenate([kept[:-1], kept[:1]])


@caught_by("form")
@dataclass(frozen=True)
class KeepsAnImageBeyondTheLast(Good):
    def pick(self, train, budget, values):
        return np.append(super().pick(train, budget, values)[:-1], len(train))


@dataclass(frozen=True)
class Synthetic(Good):
    """Keeps copies of its picks as images of its own."""

    def compress(self, train, budget, ctx):
        kept = train.subset(super().compress(train, budget, ctx).indices)
        return CompressedSet(np.empty(0, np.int64), kept.images, self.given(kept.labels))

    def given(self, labels):
        return labels


@caught_by("form")
@dataclass(frozen=True)
class GivesALabelTooHigh(Synthetic):
    def given(self, labels):
        return labels + 1


@caught_by("count")
@dataclass(frozen=True)
class KeepsOneTooFew(Good):
    balanced = None

    def pick(self, train, budget, values):
        return super().pick(train, budget, values)[:-1]


@caught_by("bytes")
@dataclass(frozen=True)
class KeepsTooManyBytes(Good):
    @property
    def keeps(self):
        return Keeps.BYTES

    def compress(self, train, budget, ctx):
        kept = super().compress(train, budget, ctx)
        full = len(train) * train.bytes_per_image
        return replace(kept, stored_bytes=budget.bytes(full) + 1)


@caught_by("bytes")
@dataclass(frozen=True)
class RoundsBytesUp(Good):
    balanced = None

    def pick(self, train, budget, values):
        return np.argsort(-values)[: budget.images(len(train)) + (budget.of == "bytes")]


@caught_by("balance")
@dataclass(frozen=True)
class KeepsTheBestOfAll(Good):
    def pick(self, train, budget, values):
        return np.argsort(-values)[: budget.images(len(train))]


@caught_by("notes")
@dataclass(frozen=True)
class NotesAnArray(Good):
    def compress(self, train, budget, ctx):
        return replace(super().compress(train, budget, ctx), notes={"kept": np.arange(3)})


@caught_by("notes")
@dataclass(frozen=True)
class NotesNotANumber(Good):
    def compress(self, train, budget, ctx):
        return replace(super().compress(train, budget, ctx), notes={"score": float("nan")})


@caught_by("same-seed")
@dataclass(frozen=True)
class DrawsWithoutASeed(Good):
    def noise(self, count, number, ctx):
        return np.random.default_rng().random(count) / 100


@caught_by("same-seed", "random-state")
@dataclass(frozen=True)
class DrawsFromTheSharedGenerator(Good):
    def noise(self, count, number, ctx):
        return np.random.random(count) / 100


@caught_by("other-seed")
@dataclass(frozen=True)
class DrawsTheSameForEverySeed(Good):
    def noise(self, count, number, ctx):
        return np.random.default_rng(number).random(count) / 100


@caught_by("other-seed")
@dataclass(frozen=True)
class SaysThatItDoesNotDraw(Good):
    info = replace(Good.info, seeded=False)


HANDLES = {}


@caught_by("order")
@dataclass(frozen=True)
class KeepsTheHandleThatItDeclared(Good):
    """Reads what it declared for the images in the order of the files."""

    def artefacts(self, train, ctx):
        HANDLES[ctx] = self.scored(train, ctx)
        return [HANDLES[ctx]]

    def compress(self, train, budget, ctx):
        values = next(reversed(HANDLES.values()))["values"]
        return CompressedSet(self.pick(train, budget, values))


@caught_by("contract")
@dataclass(frozen=True)
class LooksForATestSplit(Good):
    def pick(self, train, budget, values):
        assert getattr(train, "test", None) is None
        return super().pick(train, budget, values)


@caught_by("contract")
@dataclass(frozen=True)
class LoadsADataSet(Good):
    def pick(self, train, budget, values):
        DATASETS.make_one("digits").load(Source())
        return super().pick(train, budget, values)


@caught_by("contract")
@dataclass(frozen=True)
class LooksBehindTheContext(Good):
    def compress(self, train, budget, ctx):
        assert ctx._store
        return super().compress(train, budget, ctx)


@caught_by("contract")
@dataclass(frozen=True)
class HangsSomethingOnTheContext(Good):
    def compress(self, train, budget, ctx):
        ctx.seen = True
        return super().compress(train, budget, ctx)


@caught_by("inputs")
@dataclass(frozen=True)
class WritesToTheImages(Good):
    def brightness(self, train):
        train.images[0] = 0
        return super().brightness(train)


@caught_by("inputs")
@dataclass(frozen=True)
class WritesInSpiteOfTheFlag(Good):
    def brightness(self, train):
        train.labels.setflags(write=True)
        train.labels[:2] = train.labels[1::-1]
        return super().brightness(train)


@caught_by("random-state")
@dataclass(frozen=True)
class SeedsTorch(Good):
    def brightness(self, train):
        torch.manual_seed(3)
        return super().brightness(train)


@caught_by("random-state")
@dataclass(frozen=True)
class SeedsPython(Good):
    def brightness(self, train):
        random.seed(3)
        return super().brightness(train)


@caught_by("declared")
@dataclass(frozen=True)
class DeclaresNothing(Good):
    def artefacts(self, train, ctx):
        return ()


@caught_by("declared")
@dataclass(frozen=True)
class HidesAnInput(Good):
    def scored(self, train, ctx):
        level = ctx.artefact("level", lambda: {"value": np.ones(1)})
        make = lambda: {"values": level["value"] * self.scores(train, ctx)}  # noqa: E731
        return ctx.artefact("scores", make)


@caught_by("planning")
@dataclass(frozen=True)
class CountsTheImagesInPlanning(Good):
    def scored(self, train, ctx):
        params = {"images": len(train)}
        return ctx.artefact("scores", lambda: {"values": self.scores(train, ctx)}, params=params)


@caught_by("planning")
@dataclass(frozen=True)
class ReadsTheImagesInPlanning(Good):
    def artefacts(self, train, ctx):
        self.brightness(train)
        return super().artefacts(train, ctx)


@caught_by("planning", "order")
@dataclass(frozen=True)
class ReadsAnArtefactInPlanning(Good):
    def artefacts(self, train, ctx):
        declared = super().artefacts(train, ctx)
        declared[0].arrays()
        return declared


@caught_by("resume")
@dataclass(frozen=True)
class ForgetsWhatItHad(Good):
    def restored(self, count, ctx):
        total, done = super().restored(count, ctx)
        return np.zeros_like(total), done


@caught_by("resume")
@dataclass(frozen=True)
class SwallowsInterruptions(Good):
    def scores(self, train, ctx):
        try:
            return super().scores(train, ctx)
        except KeyboardInterrupt:
            return self.brightness(train)


@caught_by("shuffled-labels")
@dataclass(frozen=True)
class ReadsTheClassFromTheKey(Good):
    def labels(self, train):
        return np.array([train.classes.index(key.split("-")[1]) for key in train.keys])


@caught_by("shuffled-labels")
@dataclass(frozen=True)
class KnowsWhichLabelsAreRight(Good):
    """Keeps what it is asked for, but first the images whose key agrees with their label."""

    def pick(self, train, budget, values):
        own = [train.classes[label] for label in train.labels]
        agrees = [key.endswith(name) for key, name in zip(train.keys, own, strict=True)]
        return super().pick(train, budget, values + 10 * np.array(agrees))


@caught_by("empty-class")
@dataclass(frozen=True)
class NeedsAnImageOfEachClass(Good):
    def pick_class(self, members, values, count):
        return super().pick_class(members, values - values.max(), count)


@caught_by("single-image-class")
@dataclass(frozen=True)
class NeedsTwoImagesOfAClass(Good):
    def pick_class(self, members, values, count):
        second = np.partition(values, 1)[1] if len(values) else 0
        return super().pick_class(members, values - second, count)


@caught_by("identical-images")
@dataclass(frozen=True)
class DividesByTheSpread(Good):
    def brightness(self, train):
        found = super().brightness(train)
        return found * (1 / float(np.ptp(found)))


@caught_by("grey-images")
@dataclass(frozen=True)
class LooksAtBlue(Good):
    def brightness(self, train):
        return train.images[..., 2].mean(axis=(1, 2)) / 255


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

    def test_components_need_no_quick_values(self):
        assert not hasattr(Component, "quick")
        assert subjects("random")[0].method == METHODS.make_one("random")


@pytest.mark.parametrize("name", ["random", "herding", "dq"])
def test_ours_pass(name):
    assert failures(subjects(name)[0].method) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS.names())
def test_all_of_ours_pass(name):
    assert failures(subjects(name)[0].method) == {}
