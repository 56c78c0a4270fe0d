"""The lab: a method's trials, each made when first asked for and kept for all properties."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.budgets import Budget, parse_budgets
from bench.conformance import data
from bench.conformance.guards import Watch
from bench.conformance.trials import InterruptedTrial, Trial, WatchedContext, run_trial, told
from bench.contract import ImageDataset, Keeps, Method
from bench.errors import BenchError, UsageError

EVERYTHING = Budget.parse("100")
MAIN = Budget.parse("20")
OTHER_BUDGETS = tuple(parse_budgets("7,12.5,33.3,67,100"))
BYTE_BUDGETS = tuple(parse_budgets("12.5b,50b"))


class NotMetError(Exception):
    """A property is not met; the message tells what was seen."""


class DoesNotApplyError(Exception):
    """A property cannot be judged; the message tells why."""


class Lab:
    """One method on the kit's data.

    Parameters
    ----------
    method : Method
        What is checked.
    folder : Path
        Where the trials' results folders are made.
    """

    def __init__(self, method: Method, folder: Path) -> None:
        self.method = method
        self._folder = folder
        self.data = data.ordinary(method.needed_classes)
        self.main_budget = MAIN if method.budgeted else EVERYTHING
        self.other_budgets = OTHER_BUDGETS if method.budgeted else ()

    def place(self, name: str) -> Path:
        """Return the results folder of a name."""
        return self._folder / name

    def run(
        self,
        place: str,
        budget: Budget | None = None,
        train: ImageDataset | None = None,
        seed: int = 0,
        interrupt_at: int = 0,
        watch: Watch | None = None,
        global_seed: int = 0,
        declared_on: ImageDataset | None = None,
    ) -> Trial:
        """Run the method in the results folder of a name; see :func:`trials.run_trial`."""
        return run_trial(
            self.method,
            self.data if train is None else train,
            budget or self.main_budget,
            WatchedContext(self.place(place), seed, interrupt_at),
            watch=watch,
            global_seed=global_seed,
            declared_on=declared_on,
        )

    @cached_property
    def first(self) -> Trial:
        """The first run, on ordinary data.

        Raises
        ------
        UsageError
            What the method raised of this kind: something that it needs is missing.
        """
        trial = self.run("main")
        if isinstance(trial.error, UsageError) and trial.compressed is None:
            raise trial.error
        return trial

    @cached_property
    def others(self) -> list[Trial]:
        """Runs with other budgets, which share the first one's artefacts."""
        self.require_main()
        return [self.run("main", budget) for budget in self.other_budgets]

    @cached_property
    def bytes_trials(self) -> list[Trial]:
        """Runs with budgets in bytes."""
        self.require_main()
        return [self.run("main", budget) for budget in BYTE_BUDGETS if self.other_budgets]

    @cached_property
    def watched(self) -> Trial:
        """The run under guards; what they saw is in :attr:`watch`."""
        self.require_main()
        return self.run("watched", watch=self.watch)

    @cached_property
    def watch(self) -> Watch:
        """What the guards saw."""
        return Watch()

    @cached_property
    def again(self) -> Trial:
        """A second run like the first, with another state of the process's shared generators."""
        self.require_main()
        return self.run("again", global_seed=1)

    def require_main(self) -> Trial:
        """Return the first run, or raise where it gave nothing that can be looked at."""
        if self.first.error is not None:
            raise DoesNotApplyError("it does not run")
        if self.first.fault:
            raise DoesNotApplyError("what it returns has a wrong form")
        return self.first

    def require_repeatable(self) -> Trial:
        """Return the first run, or raise where the same run gives another set."""
        first = self.require_main()
        if self.again.error is not None or self.again.content() != first.content():
            raise DoesNotApplyError("two runs with one seed differ")
        return first

    def sound_trials(self) -> list[Trial]:
        """Return the runs on ordinary data with budgets in images that gave a sound set."""
        return [t for t in (self.require_main(), *self.others) if t.error is None and not t.fault]

    def require_result(self, trial: Trial) -> Trial:
        """Return a trial that must have given a sound set, or raise."""
        if trial.error is not None:
            raise NotMetError(told(trial.error, self.method))
        if trial.fault:
            raise NotMetError(trial.fault)
        return trial

    def words(self, trial: Trial) -> str:
        """Return a trial's budget for people."""
        return f"{trial.budget.words} of {len(trial.train)}"

    def wrong_count(self, trial: Trial) -> str:
        """Return how a set's number of images differs from the budget's; empty if it does not."""
        wanted = trial.budget.images(len(trial.train))
        if self.method.keeps is not Keeps.IMAGES or len(trial.kept) == wanted:
            return ""
        return f"{len(trial.kept)} images instead of {wanted} ({self.words(trial)})"

    def wrong_classes(self, trial: Trial) -> str:
        """Return how a set's classes differ from their shares; empty if not, or not declared."""
        if not getattr(self.method, "balanced", None):
            return ""
        wanted = trial.budget.images_by_class(trial.train.class_counts).tolist()
        kept = trial.kept.training_set(trial.train).class_counts.tolist()
        if kept == wanted:
            return ""
        return f"{kept} images by class instead of {wanted} ({self.words(trial)})"

    def refusal(self, trial: Trial) -> str:
        """Return the message of a method that refused in one or two lines; empty for others."""
        lines = str(trial.error).strip().splitlines()
        is_clear = isinstance(trial.error, BenchError) and 1 <= len(lines) <= 2
        return " ".join(lines) if is_clear else ""

    def on(self, variant: Callable[[ImageDataset], ImageDataset]) -> str:
        """Run the method on a variant of the data and return what became of it, or raise."""
        return self.trials_on(variant)[0]

    def trials_on(self, variant: Callable[[ImageDataset], ImageDataset]) -> tuple[str, list[Trial]]:
        """Run the method on a variant of the data; return what became of it, and the trials.

        There are none where the method refuses. What is wrong on ordinary data already is not
        told again.
        """
        sound = self.sound_trials()
        train = variant(self.data)
        is_exact = not any(self.wrong_count(trial) for trial in sound)
        is_balanced = not any(self.wrong_classes(trial) for trial in sound)
        trials = []
        for budget in [t.budget for t in sound if t.budget in (self.main_budget, EVERYTHING)]:
            trial = self.run(variant.__name__, budget, train)
            if refusal := self.refusal(trial):
                return f"it refuses: {refusal}", []
            self.require_result(trial)
            fault = self.wrong_count(trial) if is_exact else ""
            fault = fault or (self.wrong_classes(trial) if is_balanced else "")
            if fault:
                raise NotMetError(fault)
            trials.append(trial)
        kept = " and ".join(str(len(trial.kept)) for trial in trials)
        return f"{kept} of {len(train)} images kept", trials

    def interrupted(self) -> tuple[str, Trial]:
        """Interrupt a run in the middle of its longest stage, go on, and return both facts.

        Returns
        -------
        where : str
            The stage and the call of ``progress``.
        resumed : Trial
            The second run in the same results folder.
        """
        stages = self.require_repeatable().stages
        if not stages:
            raise DoesNotApplyError("it never calls ctx.progress")
        longest = max(stages, key=stages.count)
        calls = np.flatnonzero(np.array(stages) == longest) + 1
        call = int(calls[(len(calls) - 1) // 2])
        where = f"interrupted in stage '{longest}', at call {call} of {len(stages)}"
        trial = self.run("interrupted", interrupt_at=call)
        if not isinstance(trial.error, InterruptedTrial):
            raise NotMetError(f"{where}: Ctrl-C (KeyboardInterrupt) did not end it")
        return where, self.run("interrupted")
