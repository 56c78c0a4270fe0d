"""Choosing what is kept: by a method, or by released indices."""

from __future__ import annotations

import decimal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.asking import refuse_unready
from bench.choices import By
from bench.components import parameters
from bench.compressing.looking import DECODING, Looked, View, look
from bench.context import RunContext
from bench.datasets.lazy_images import fitting_size
from bench.errors import BenchError, UsageError
from bench.indices import join
from bench.models import MODELS, NamesModel
from bench.provenance import continuation_stamp
from bench.selecting import select
from bench.weights import require as require_weights

if TYPE_CHECKING:
    from bench.arrays import IntArray, Pixels
    from bench.budgets import Budget
    from bench.compressing.request import ByIndices, ByMethod
    from bench.compressing.source import ImageFiles
    from bench.contract import CompressedSet, Method
    from bench.progress import Progress
    from bench.results import Results


_PRETRAINED = "timm[architecture=resnet18.tv_in1k,pretrained=true]"


@dataclass(frozen=True)
class Chosen:
    """What is kept of the files, in the order of selection.

    Parameters
    ----------
    positions : int64 [K]
        Positions among all files; empty for synthetic images.
    labels : int64 [K]
        Classes, as positions in the files' list of classes.
    images : uint8 [K, H, W, C] or None
        What stands for the files at ``positions``, or synthetic images.
    broken : tuple of str
        Files that could not be read and were left out.
    notes : tuple of str
        What a user should know.
    costs : mapping
        Seconds by kind of work.
    told : mapping
        What the method wants to be recorded.
    """

    positions: IntArray
    labels: IntArray
    images: Pixels | None = None
    broken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    costs: dict[str, float] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


def choose_by_indices(asked: ByIndices, files: ImageFiles) -> Chosen:
    """Return the files that an index file names, in its order.

    Raises
    ------
    UsageError
        When it is not clear which files are meant, or some are missing and may not be.
    """
    joined = join(asked.indices, files.named, asked.by)
    found, missing = len(joined.positions), len(joined.missing)
    told = f"{found} of the {len(asked.indices)} indices in {asked.path} have a file"
    if not found or (missing and not asked.allow_missing):
        listed = ", ".join(str(index) for index in joined.missing[:3])
        hint = ", or go on with --allow-missing" if found else ""
        if len(asked.indices.numbers) and not join(asked.indices, files.named, By.POSITION).missing:
            hint += f". As positions all have a file: --by {By.POSITION}"
        raise UsageError(
            f"{told} in {files.tree.place} (by {joined.by}); {missing} are missing, e.g. "
            f"{listed}. Name the folder that has them{hint}"
        )
    notes = (f"{told} (by {joined.by}).",)
    return Chosen(joined.positions, files.labels[joined.positions], notes=notes)


def choose_by_method(
    asked: ByMethod,
    files: ImageFiles,
    view: View,
    work: Results,
    device: str,
    progress: Progress,
    allow_empty_classes: bool = False,
) -> Chosen:
    """Return what a method keeps; intermediates are kept in a results folder and gone on from.

    Raises
    ------
    UsageError
        When the ratio leaves a class empty, or the method needs more memory than allowed.
    DataError
        When images cannot be read.
    BenchError
        When the method fails.
    """
    refuse_too_large(asked.method, len(files), view)
    refuse_unready(asked.method, lambda: files.keys, len(files.classes))
    require_weights(asked.method.weights(), lambda message: progress.stage(message, 0, 0))
    if not allow_empty_classes:
        refuse_empty_classes(asked.budget, files.classes, np.bincount(files.labels))
    looked = look(files, view, work.folder / "checked.json", asked.skip_broken, progress)
    if not allow_empty_classes:
        refuse_empty_classes(asked.budget, looked.train.classes, looked.train.class_counts)
    context = RunContext(
        dataset=_identity(files, looked, view),
        selection_seed=asked.seed,
        device=device,
        store=work.artefacts,
        leases=work.leases,
        checkpoint=lambda name: work.checkpoint(name, continuation_stamp(device)),
        progress=progress,
    )
    compressed = _selected(asked, looked, view, context)
    costs: dict[str, float] = {}
    for cost in context.costs.values():
        costs[cost["kind"]] = costs.get(cost["kind"], 0.0) + cost["seconds"]
    return Chosen(
        positions=looked.positions[compressed.indices],
        labels=_labels(compressed, looked, files),
        images=compressed.images,
        broken=looked.broken,
        notes=tuple(_lost_classes(files, looked)),
        costs=costs,
        told=dict(compressed.notes),
    )


def refuse_too_large(method: Method, count: int, view: View) -> None:
    """Raise a UsageError when a method trains its extractor on images that do not fit."""
    if not view.streams(count):
        return
    for parameter in parameters(type(method)):
        spec = getattr(method, parameter.name)
        is_model = isinstance(parameter.rule, NamesModel)
        is_trained = getattr(method, f"{parameter.name}_epochs", 1) > 0
        if is_model and is_trained and not MODELS.make_one(spec).uses_pretrained_weights:
            size = fitting_size(count, view.memory)
            hint = _pretrained_hint(method, parameter.name)
            raise UsageError(
                f"{count} images of {view.size} pixels take {view.bytes(count) / 2**30:.3g} GiB "
                f"(allowed: {view.memory / 2**30:.3g}), and {parameter.name}={spec} is trained on "
                f"them in memory. Give --size {size}{hint} or more --memory"
            )


def _pretrained_hint(method: Method, parameter: str) -> str:
    """Return the advice to take a network that need not be trained, where the method allows it."""
    try:
        replace(method, **{parameter: _PRETRAINED})
    except UsageError:
        return ""
    return f", a pretrained network ('{method.name}[{parameter}={_PRETRAINED}]')"


def refuse_empty_classes(budget: Budget, classes: tuple[str, ...], counts: IntArray) -> None:
    """Raise a UsageError when a budget's share of a class is no image."""
    kept = budget.images_by_class(counts)
    if kept.min() > 0:
        return
    label = int(kept.argmin())
    upwards = decimal.Context(prec=2, rounding=decimal.ROUND_CEILING)
    enough = upwards.divide(decimal.Decimal(100), decimal.Decimal(int(counts.min())))
    raise UsageError(
        f"ratio {budget.label} leaves class '{classes[label]}' ({counts[label]} images) empty, "
        f"{int((kept == 0).sum())} such classes. Give at least {enough:f}, or go on without them: "
        "--allow-empty-classes"
    )


def _selected(asked: ByMethod, looked: Looked, view: View, context: RunContext) -> CompressedSet:
    try:
        return select(asked.method, looked.train, asked.budget, context)
    except BenchError:
        raise
    except Exception as error:  # whatever a method raises is told in a line; --debug shows it
        streamed = view.streams(len(looked.train))
        hint = ". Images are decoded on demand; more --memory would hold them" * streamed
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise BenchError(
            f"{asked.method.spec} failed: {type(error).__name__}: {reason}{hint}"
        ) from error


def _identity(files: ImageFiles, looked: Looked, view: View) -> dict[str, Any]:
    """Return what the pixels that a method sees depend on."""
    return {
        "name": "compress",
        "fingerprint": files.fingerprint,
        "size": view.size,
        "decoding": DECODING,
        "left_out": sorted(set(range(len(files))) - set(looked.positions.tolist())),
    }


def _labels(compressed: CompressedSet, looked: Looked, files: ImageFiles) -> IntArray:
    train = looked.train
    seen = train.labels[compressed.indices] if compressed.labels is None else compressed.labels
    all_labels = np.array([files.classes.index(name) for name in train.classes], dtype=np.int64)
    return all_labels[seen]


def _lost_classes(files: ImageFiles, looked: Looked) -> list[str]:
    lost = sorted(set(files.classes) - set(looked.train.classes))
    return [f"Classes of which no image could be read: {', '.join(lost)}."] if lost else []
