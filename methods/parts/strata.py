"""What DQAS samples over: the classes, or the bins of each class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from methods.parts.allocation import bin_quota
from methods.parts.draws import lowest_by_class
from methods.parts.holdout import Draw, total
from methods.parts.sensitivity import smoothed_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import FloatArray, IntArray
    from bench.contract import Artefact

    Round = list[Artefact]
    """The learners of one round."""

PRIOR = 1.0
"""How many images the error of its class weighs beside the judged ones of a bin; our choice."""


@dataclass(frozen=True)
class Decision:
    """How many images each stratum has after a round, and why.

    Parameters
    ----------
    learners : list of Artefact
        The round's.
    error, slope : float64 [S]
        What the round's images were dealt by.
    kept : int64 [S]
        Images of each stratum from then on.
    """

    learners: Round
    error: FloatArray
    slope: FloatArray
    kept: IntArray


@dataclass(frozen=True)
class Strata(ABC):
    """Parts of the training split, each with images, that get their numbers by active sampling.

    Parameters
    ----------
    of_image : int64 [N]
        The stratum of each image, in 0 ... S - 1.
    order : float64 [N]
        In what order a stratum gives its images, lowest first.
    sizes : int64 [S]
        Images of each stratum.
    """

    of_image: IntArray
    order: FloatArray
    sizes: IntArray

    def picks(self, counts: IntArray) -> IntArray:
        """Return the positions of the first ``counts`` images, int64 [S], stratum by stratum."""
        return lowest_by_class(self.of_image, self.order, counts)

    @abstractmethod
    def draw(self, counts: IntArray) -> Draw:
        """Return what a learner is trained on when ``counts`` images, int64 [S], are kept."""

    @abstractmethod
    def first(self, by_class: IntArray) -> IntArray:
        """Return the numbers of the first round, int64 [S], from those of the classes."""

    @abstractmethod
    def trained(self, learners: Round) -> FloatArray:
        """Return how many images a round's learners were trained on, float64 [S], on average."""

    @abstractmethod
    def errors(self, learners: Round) -> FloatArray:
        """Return a round's held-out errors, float64 [S], in (0, 1)."""

    @abstractmethod
    def notes(self, decisions: Sequence[Decision]) -> dict[str, Any]:
        """Return the decisions as notes for the record."""


@dataclass(frozen=True)
class Classes(Strata):
    """Every class as one stratum; one without images has the size 0."""

    def draw(self, counts: IntArray) -> Draw:
        """Return the beginning of each class's order."""
        return Draw(self.order, counts)

    def first(self, by_class: IntArray) -> IntArray:
        """Return the classes' numbers themselves."""
        return by_class

    def trained(self, learners: Round) -> FloatArray:
        """Return what the learners counted, float64 [C]."""
        return total(learners, "trained") / len(learners)

    def errors(self, learners: Round) -> FloatArray:
        """Return the classes' errors, float64 [C]."""
        return _class_errors(learners)

    def notes(self, decisions: Sequence[Decision]) -> dict[str, Any]:
        """Return every round's errors, slopes and numbers, by class."""
        rounds = [
            {
                "error": _rounded(one.error),
                "slope": _rounded(one.slope),
                "by_class": one.kept.tolist(),
            }
            for one in decisions
        ]
        return {"rounds": rounds}


@dataclass(frozen=True)
class BinsOfClasses(Strata):
    """What each bin holds of each class, where it holds any; class by class, then bin by bin.

    Parameters
    ----------
    of_image, order, sizes
        As in :class:`Strata`.
    classes, bins : int64 [S]
        The class and the bin of each stratum.
    shape : (int, int)
        Numbers of classes and bins.
    """

    classes: IntArray
    bins: IntArray
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, bins: Sequence[IntArray], labels: IntArray, order: FloatArray, classes: int
    ) -> BinsOfClasses:
        """Return the strata of bins, the positions in each, that hold every image once."""
        bin_of = np.empty(len(labels), dtype=np.int64)
        for number, one in enumerate(bins):
            bin_of[one] = number
        full, of_image = np.unique(labels * len(bins) + bin_of, return_inverse=True)
        sizes = np.bincount(of_image, minlength=len(full))
        label, number = np.divmod(full, len(bins))
        return cls(of_image, order, sizes, label, number, (classes, len(bins)))

    def draw(self, counts: IntArray) -> Draw:
        """Return the beginning of each stratum's order; learners count by stratum too."""
        return Draw(self.order, counts, self.of_image)

    def first(self, by_class: IntArray) -> IntArray:
        """Return each class's number dealt over its bins by size, by largest remainder."""
        counts = np.zeros_like(self.sizes)
        for label, count in enumerate(by_class.tolist()):
            mine = self.classes == label
            counts[mine] = bin_quota(None, self.sizes[mine], count, alpha=0.0)
        return counts

    def trained(self, learners: Round) -> FloatArray:
        """Return what the learners counted, float64 [S]."""
        return total(learners, "strata_trained") / len(learners)

    def errors(self, learners: Round) -> FloatArray:
        r"""Return the strata's errors, float64 [S], drawn towards those of their classes.

        Of w wrong answers among m it is :math:`(w + k e_c) / (m + k)` with the class's error
        :math:`e_c` and k of :data:`PRIOR`; where nothing was judged it is :math:`e_c`.
        """
        right, judged = total(learners, "strata_right"), total(learners, "strata_judged")
        of_class = _class_errors(learners)[self.classes]
        return np.asarray((judged - right + PRIOR * of_class) / (judged + PRIOR))

    def notes(self, decisions: Sequence[Decision]) -> dict[str, Any]:
        """Return every round by class and by bin, and all strata after the last one.

        A class's slope is the mean over its images; None where it has none.
        """
        classes, bins = self.shape
        weights = np.bincount(self.classes, self.sizes, minlength=classes)
        rounds = []
        for one in decisions:
            slopes = np.bincount(self.classes, self.sizes * one.slope, minlength=classes)
            means = zip(slopes.tolist(), weights.tolist(), strict=True)
            rounds.append(
                {
                    "error": _rounded(_class_errors(one.learners)),
                    "slope": [round(slope / count, 6) if count else None for slope, count in means],
                    "by_class": _sums(self.classes, one.kept, classes),
                    "by_bin": _sums(self.bins, one.kept, bins),
                }
            )
        if not decisions:
            return {"rounds": rounds}
        last = decisions[-1]
        strata = {
            "class": self.classes.tolist(),
            "bin": self.bins.tolist(),
            "images": self.sizes.tolist(),
            "judged": total(last.learners, "strata_judged").tolist(),
            "error": _rounded(last.error),
            "slope": _rounded(last.slope),
            "kept": last.kept.tolist(),
        }
        return {"rounds": rounds, "bins_of_classes": strata}


def _class_errors(learners: Round) -> FloatArray:
    return smoothed_error(total(learners, "right"), total(learners, "judged"))


def _rounded(values: FloatArray) -> list[float]:
    rounded: list[float] = values.round(6).tolist()
    return rounded


def _sums(places: IntArray, counts: IntArray, length: int) -> list[int]:
    sums = np.zeros(length, dtype=np.int64)
    np.add.at(sums, places, counts)
    summed: list[int] = sums.tolist()
    return summed
