"""Class-wise budgets: any method that picks by class, with more images where they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from bench.budgets import ClassBudget
from bench.components import Between
from bench.contract import (
    METHODS,
    CompressedSet,
    Context,
    ImageDataset,
    Keeps,
    Method,
    MethodInfo,
    quickened,
    register,
)
from bench.errors import DataError, UsageError
from bench.models import NamesModel
from bench.specs import expand
from methods.parts.holdout import Learners, sensitivity
from methods.parts.sensitivity import class_quota, class_weights, released_adq_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import FloatArray, IntArray
    from bench.budgets import Budget
    from bench.contract import Artefact
    from bench.weights import Weights

_NAME = "classwise"


class NamesMethod:
    """The rule of a text parameter that names a method with numbers by class, e.g. ``dq``."""

    def accept(self, value: str) -> str:
        """Return the method's shortest spec; raise a UsageError for one that cannot be a base."""
        method = METHODS.make_one(value)
        if method.name == _NAME:
            raise UsageError(f"{_NAME} cannot be its own base. Name another method")
        if (reason := reason_against(method)) is not None:
            raise UsageError(
                f"'{method.spec}' {reason}: its classes cannot be given numbers. "
                "Name another method or other parameters, see docs/methods/classwise.md"
            )
        return method.spec

    def identity(self, value: str) -> dict[str, Any]:
        """Return the identity of the method that a value names."""
        return METHODS.make_one(value).identity()

    def weights(self, value: str) -> tuple[Weights, ...]:
        """Return the pretrained weights of the method that a value names."""
        return METHODS.make_one(value).weights()

    def quickened(self, value: str) -> str:
        """Return a method's spec with its ``quick`` values where none are typed."""
        return quickened(next(expand(value))).spec

    def __str__(self) -> str:
        return "that names a method (bench list methods)"


def reason_against(method: Method) -> str | None:
    """Return why a method cannot keep given numbers of the classes; None where it may."""
    if not method.budgeted:
        return "keeps the same whatever the budget"
    if method.keeps is Keeps.BYTES:
        return "spends bytes and not images"
    if method.keeps is Keeps.ITS_OWN_COUNT:
        return "rounds to a count of its own"
    return "decides what the classes get" if method.balanced is False else None


@register(_NAME)
@dataclass(frozen=True)
class Classwise(Method):
    r"""Give each class its own number of images, at equal total, and let a base method pick them.

    DQAS (arXiv 2407.07268) observes that classes differ in how much they miss images that are
    taken away. Its rule could not be read; those here are our choice and are not DQAS.

    Parameters
    ----------
    base : str
        The method that picks (or makes) the images, with its own parameters, e.g.
        ``adq[alpha=0.7]``; :func:`reason_against` tells which cannot.
    allocation : {"error", "gain", "released-adq", "uniform"}
        What the number :math:`n_c` of images of class c follows. ``error``: :math:`N_c e_c^\gamma`
        with the held-out error :math:`e_c` of learners at ``high``. ``gain``:
        :math:`N_c g_c^\gamma` with :math:`g_c`, by how much the held-out accuracy of the class
        rises from ``low`` to ``high``. ``released-adq``: what the released ADQ code comes to by
        class (:func:`methods.parts.sensitivity.released_adq_weights`); for ten classes, by their
        position. ``uniform``: the class's share, which is the base itself (the control).
    exponent : float
        :math:`\gamma` of ``error`` and ``gain``; 0 gives equal shares. Our choice.
    low, high : float
        Sizes of the learners' draws, in percent of the training split. Our choice: the smallest
        and the largest ratio of the papers.
    learners : int
        How many learners are averaged, each with its own held-out part and draw. Our choice.
    learner, learner_epochs, holdout
        The learners' model and epochs, and the share of every class of the training split that
        is held out from them, to judge them. Our choice.

    Notes
    -----
    Largest remainders make the total exact; no class gets more than it has or less than one.
    The images that were held out from the learners may be selected as all others.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="class-wise budget for a base method",
        paper="after an observation of Zhao et al., ECCV 2024, arXiv 2407.07268",
        year=2024,
        kind="wrapper",
        code="none; the rules are our choice, released-adq is ADQ's adaptive.py",
    )
    base: Annotated[str, NamesMethod()] = "dq"
    allocation: Literal["error", "gain", "released-adq", "uniform"] = "gain"
    exponent: Annotated[float, Between(0, 10)] = 0.5
    low: Annotated[float, Between(0.01, 100)] = 10.0
    high: Annotated[float, Between(0.01, 100)] = 30.0
    learners: Annotated[int, Between(1, 100)] = 2
    learner: Annotated[str, NamesModel()] = "resnet8"
    learner_epochs: Annotated[int, Between(1, 1000)] = 30
    holdout: Annotated[float, Between(0.01, 0.9)] = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high <= 100 * (1 - self.holdout) + 1e-9:
            raise UsageError(
                f"{_NAME}: low={self.low:g} and high={self.high:g} are not allowed with "
                f"holdout={self.holdout:g}. Give low < high, and high at most "
                f"{100 * (1 - self.holdout):g}"
            )

    @property
    def quick(self) -> Mapping[str, Any]:
        """Fewer steps, of the base too, for a check in seconds."""
        return {"learner_epochs": 3, "base": NamesMethod().quickened(self.base)}

    @property
    def method(self) -> Method:
        """The base method."""
        return METHODS.make_one(self.base)

    def refuse_unready(self, keys: Callable[[], Sequence[str]]) -> None:
        """Raise what the base raises where it cannot be run."""
        self.method.refuse_unready(keys)

    def looks(self, class_counts: IntArray, budget: Budget) -> int:
        """Return the base's looks at the budget's usual numbers."""
        return self.method.looks(class_counts, budget)

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the base's artefacts and what the allocation measures."""
        measured = self._sensitivity(train, ctx)
        return [*self.method.artefacts(train, ctx), *([] if measured is None else [measured])]

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return what the base keeps with the classes' numbers.

        Raises
        ------
        UsageError
            When the base refuses them, or did not keep to them.
        """
        each = self.method.bytes_each(train)
        budget = budget.for_images_of(each, train.bytes_per_image, len(train))
        quota, told = self._quota(train, budget, ctx)
        given = ClassBudget.of_classes(quota.tolist(), len(train))
        try:
            kept = self.method.compress(train, given, ctx)
        except UsageError as error:
            raise UsageError(f"{_NAME}: the base '{self.base}': {error}") from None
        found = kept.training_set(train).class_counts
        if (found != quota).any():
            raise DataError(
                f"{_NAME}: the base '{self.base}' kept {found.tolist()} images by class where "
                f"{quota.tolist()} were asked for. Name a base that follows its classes' budget"
            )
        told = {"allocation": self.allocation, "by_class": quota.tolist(), **told}
        return replace(kept, notes={**kept.notes, "classwise": told})

    @property
    def seeded(self) -> bool:
        """Whether the result depends on the selection seed: the base, or judging learners."""
        return self.method.seeded or self.allocation in ("error", "gain")

    @property
    def needed_classes(self) -> int | None:
        """How many classes a data set must have: the released weights are of ten."""
        if self.allocation == "released-adq":
            return len(released_adq_weights())
        return self.method.needed_classes

    def _quota(
        self, train: ImageDataset, budget: Budget, ctx: Context
    ) -> tuple[IntArray, dict[str, Any]]:
        """Return the classes' numbers, and what the record should say of them."""
        usual = budget.images_by_class(train.class_counts)
        if self.allocation == "uniform":
            return usual, {}
        weights, told = self._weights(train, ctx)
        return class_quota(weights, train.class_counts, int(usual.sum())), told

    def _weights(self, train: ImageDataset, ctx: Context) -> tuple[FloatArray, dict[str, Any]]:
        measured = self._sensitivity(train, ctx)
        if measured is None:
            return self._released_weights(len(train.classes)), {}
        right, judged = measured["right"], measured["judged"]
        accuracy = right / np.maximum(judged, 1)
        scores = 1 - accuracy[-1] if self.allocation == "error" else accuracy[-1] - accuracy[0]
        told = {"right": right.tolist(), "judged": judged.tolist()}
        return class_weights(scores, judged, self.exponent), told

    def _released_weights(self, classes: int) -> FloatArray:
        if classes != self.needed_classes:
            raise UsageError(
                f"{_NAME}: allocation=released-adq is known for {self.needed_classes} classes, "
                f"not for {classes}. Give allocation=gain, error or uniform"
            )
        return released_adq_weights()

    def _sensitivity(self, train: ImageDataset, ctx: Context) -> Artefact | None:
        """Return the artefact with the learners' judgement; None where none is asked for."""
        ratios = {"error": [self.high], "gain": [self.low, self.high]}.get(self.allocation)
        if ratios is None:
            return None
        learners = Learners(self.learner, self.learner_epochs, self.learners, self.holdout)
        return sensitivity(learners, ratios, train, ctx)
