"""What every method promises, one function a property: it tells what was seen, or raises."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.conformance import data
from bench.conformance.chance import right_labels
from bench.conformance.guards import OutsideError, UnloadedDataset, Watch
from bench.conformance.lab import DoesNotApplyError, Lab, NotMetError
from bench.conformance.trials import PlanningContext, Trial, WatchedContext, closure, told
from bench.contract import Keeps

_OTHER_SEEDS = (1, 2, 3)
_LEAST_CHANCE = 1e-6
"""Of a method that does not know the true classes; far below any p-value of an honest one."""


@dataclass(frozen=True)
class Property:
    """A property by name, in one line, with the function that judges it."""

    name: str
    about: str
    judge: Callable[[Lab], str]


def _runs(lab: Lab) -> str:
    refusals = []
    if lab.first.error is not None:
        raise NotMetError(told(lab.first.error, lab.method))
    if lab.first.fault:
        return f"at {lab.first.budget.words}"
    for trial in lab.others:
        if refusal := lab.refusal(trial):
            refusals.append(f"; refuses {trial.budget.words}: {refusal}")
        elif trial.error is not None:
            raise NotMetError(f"at {trial.budget.words}: {told(trial.error, lab.method)}")
    budgets = ", ".join(trial.budget.label for trial in (lab.first, *lab.others))
    return f"at {budgets} % of {len(lab.data)} images{''.join(refusals)}"


def _form(lab: Lab) -> str:
    if lab.first.error is not None:
        raise DoesNotApplyError("it does not run")
    if lab.first.fault:
        raise NotMetError(lab.first.fault)
    for trial in (*lab.others, *lab.bytes_trials):
        if trial.error is None and trial.fault:
            raise NotMetError(f"at {trial.budget.words}: {trial.fault}")
    return f"{lab.first.kept.content} images; each once, positions and labels in range"


def _count(lab: Lab) -> str:
    trials = lab.sound_trials()
    counts = ", ".join(str(len(trial.kept)) for trial in trials)
    if lab.method.keeps is not Keeps.IMAGES:
        raise DoesNotApplyError(f"it keeps {lab.method.keeps.value}: {counts} images")
    for trial in trials:
        if wrong := lab.wrong_count(trial):
            raise NotMetError(wrong)
    return f"{counts} images"


def _bytes(lab: Lab) -> str:
    if lab.method.keeps is Keeps.ITS_OWN_COUNT:
        raise DoesNotApplyError(f"it keeps {lab.method.keeps.value}")
    trials = list(lab.bytes_trials)
    if lab.method.keeps is Keeps.BYTES:
        trials += lab.sound_trials()
    judged = [trial for trial in trials if trial.error is None and not trial.fault]
    for trial in trials:
        if trial.error is not None and not lab.refusal(trial):
            raise NotMetError(f"at {trial.budget.words}: {told(trial.error, lab.method)}")
    if not judged:
        refused = [lab.refusal(trial) for trial in trials]
        raise DoesNotApplyError(refused[0] if refused else "it always keeps everything")
    seen = []
    for trial in judged:
        full = len(trial.train) * trial.train.bytes_per_image
        stored, allowed = trial.kept.bytes(trial.train), trial.budget.bytes(full)
        if stored > allowed:
            raise NotMetError(f"{stored} bytes instead of at most {allowed} ({lab.words(trial)})")
        seen.append(f"{stored} of {allowed}")
    return f"{', '.join(seen)} bytes"


def _notes(lab: Lab) -> str:
    for trial in lab.sound_trials():
        try:
            json.dumps(dict(trial.kept.notes), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise NotMetError(f"the set's notes are no JSON: {error}") from None
    return f"{len(lab.first.kept.notes)} notes"


def _balance(lab: Lab) -> str:
    declared = getattr(lab.method, "balanced", None)
    trials = lab.sound_trials()
    if not declared:
        said = "declares no class balance" if declared is None else "declares that it keeps none"
        raise DoesNotApplyError(f"the method {said}")
    for trial in trials:
        if wrong := lab.wrong_classes(trial):
            raise NotMetError(wrong)
    kept = lab.first.kept.training_set(lab.first.train).class_counts.tolist()
    return f"{kept} of {lab.data.class_counts.tolist()} images by class"


def _same_seed(lab: Lab) -> str:
    first = lab.require_main()
    again = lab.require_result(lab.again)
    _require_same(first, again, "two runs with one seed")
    return "two runs gave the same set"


def _other_seed(lab: Lab) -> str:
    first = lab.require_repeatable().content(in_order=False)
    if not lab.method.budgeted and lab.method.keeps is Keeps.IMAGES:
        raise DoesNotApplyError("it always keeps everything")
    if lab.method.seeded and len(lab.first.kept) == len(lab.data):
        raise DoesNotApplyError("it kept every image, so that there was nothing to draw")
    seeds = _OTHER_SEEDS if lab.method.seeded else _OTHER_SEEDS[:1]
    for seed in seeds:
        other = lab.require_result(lab.run(f"seed-{seed}", seed=seed))
        if other.content(in_order=False) != first:
            if lab.method.seeded:
                return f"seed {seed} gave another set"
            raise NotMetError("it says that it is not seeded, but another seed gave another set")
    if lab.method.seeded:
        raise NotMetError(
            f"it says that it is seeded, but seeds 0 to {seeds[-1]} gave the same set"
        )
    return "it says that it is not seeded, and another seed gave the same set"


def _order(lab: Lab) -> str:
    first = lab.require_repeatable()
    permuted = data.permuted(lab.data)
    other = lab.require_result(lab.run("order", train=permuted, declared_on=permuted))
    _require_same(first, other, "two orders of the same images", in_order=False)
    return "a permuted data set gave the same images"


def _contract(lab: Lab) -> str:
    trial = lab.watched
    if lab.watch.seen:
        raise NotMetError(lab.watch.seen[0])
    if trial.error is not None and not _is_refused_write(trial):
        raise NotMetError(f"under guards: {told(trial.error, lab.method)}")
    return "it used nothing but what the contract offers, and loaded no data set"


def _inputs(lab: Lab) -> str:
    trial = lab.watched
    if _is_refused_write(trial) and trial.error is not None:
        raise NotMetError(told(trial.error, lab.method))
    if trial.wrote:
        raise NotMetError("the training split's images or labels were written to")
    return "images and labels are what they were"


def _is_refused_write(trial: Trial) -> bool:
    return isinstance(trial.error, ValueError) and "read-only" in str(trial.error)


def _random_state(lab: Lab) -> str:
    lab.require_main()
    changed = lab.again.changed  # not of the first run: packages may draw while they are imported
    if changed:
        raise NotMetError(f"the process's shared generator changed: {', '.join(changed)}")
    return "random, numpy.random and torch are what they were"


def _declared(lab: Lab) -> str:
    first = lab.require_main()
    if first.undeclared:
        raise NotMetError(f"{first.undeclared[0]} and does not declare it")
    return "every artefact that was read was declared by its reader"


def _planning(lab: Lab) -> str:
    lab.require_main()
    watch = Watch()
    context = PlanningContext(lab.place("planning"), 0, watch)
    try:
        planned = closure(lab.method.artefacts(UnloadedDataset(watch), context))
    except OutsideError:
        raise NotMetError(f"in artefacts(), {watch.seen[0]}") from None
    except Exception as error:
        raise NotMetError(f"artefacts() raised {told(error, lab.method)}") from None
    if watch.seen:
        raise NotMetError(f"in artefacts(), {watch.seen[0]}")
    running = WatchedContext(lab.place("main"), 0)
    if planned != closure(lab.method.artefacts(data.copied(lab.data), running)):
        raise NotMetError("artefacts() declares others once the images are loaded")
    return f"{len(planned)} artefacts are known before anything is loaded"


def _resume(lab: Lab) -> str:
    where, resumed = lab.interrupted()
    if resumed.error is not None:
        raise NotMetError(f"{where}; going on: {told(resumed.error, lab.method)}")
    if resumed.fault:
        raise NotMetError(f"{where}; going on: {resumed.fault}")
    _require_same(lab.first, resumed, f"{where}; the resumed run and an uninterrupted one")
    return f"{where}; the same set"


def _shuffled(lab: Lab) -> str:
    """Judge what is kept where labels mean nothing: it must not tell the true classes.

    Under labels that are dealt anew, whether an image got its own class back is chance. Of the
    images that a method keeps, as many have theirs as of a random draw, unless the method knows
    the true classes from elsewhere.
    """
    told, trials = lab.trials_on(data.shuffled_labels)
    if not trials:
        return told
    trial = trials[0]
    found = right_labels(trial, lab.data)
    if found.kept >= found.images:
        return told
    if found.chance < _LEAST_CHANCE:
        raise NotMetError(
            f"of {found.kept} images kept under shuffled labels {found.right_kept} carry their "
            f"true class; a random draw has {found.expected:.0f}, this many with a chance of "
            f"{found.chance:.0e}"
        )
    return (
        f"{told}; {found.right_kept} carry their true class, of a random draw {found.expected:.0f}"
    )


def _require_same(one: Trial, other: Trial, what: str, *, in_order: bool = True) -> None:
    """Raise where two trials' sets differ."""
    first, second = one.content(in_order=in_order), other.content(in_order=in_order)
    if first != second:
        common = len({*map(repr, first)} & {*map(repr, second)})
        raise NotMetError(
            f"{what} differ: {len(first)} and {len(second)} images, {common} of them the same"
        )


PROPERTIES: Sequence[Property] = (
    Property("runs", "compresses an ordinary data set at several budgets", _runs),
    Property("form", "keeps each image once, with positions and labels in range", _form),
    Property("count", "keeps exactly the images of the budget", _count),
    Property("bytes", "never keeps more bytes than the budget", _bytes),
    Property("balance", "keeps each class's share, where it declares so", _balance),
    Property("notes", "tells notes that are JSON", _notes),
    Property("same-seed", "gives the same set for the same seed", _same_seed),
    Property("other-seed", "depends on the seed if, and only if, it says so", _other_seed),
    Property("order", "does not depend on the order of the images", _order),
    Property("contract", "uses the training split and the context only", _contract),
    Property("inputs", "does not write to the images and labels", _inputs),
    Property("random-state", "leaves the process's shared generators alone", _random_state),
    Property("declared", "reads no artefact that is not declared", _declared),
    Property("planning", "declares artefacts without reading anything", _planning),
    Property("resume", "gives the same set after an interruption", _resume),
    Property(
        "shuffled-labels",
        "keeps what random keeps where labels mean nothing: it knows no others",
        _shuffled,
    ),
    Property("empty-class", "copes with a class without images",
             lambda lab: lab.on(data.empty_class)),
    Property("single-image-class", "copes with a class of one image",
             lambda lab: lab.on(data.single_image_class)),
    Property("identical-images", "copes with images that are all the same",
             lambda lab: lab.on(data.identical_images)),
    Property("grey-images", "copes with images of one channel",
             lambda lab: lab.on(data.grey_images)),
)  # fmt: skip
