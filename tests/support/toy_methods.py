"""A method that keeps every promise, and others that break one each; :data:`BROKEN` lists them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from bench.checkpoints import TrainingState
from bench.contract import CompressedSet, Keeps, Method, MethodInfo
from bench.datasets import DATASETS, Source

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
