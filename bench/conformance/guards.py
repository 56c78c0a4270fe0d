"""Guards: what a method is handed while it is watched for what it may not do.

They find mistakes and shortcuts. Python hides nothing from code that means to cheat.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from bench.contract import Context, ImageDataset
from bench.datasets import DATASETS

_OFFERED = frozenset(
    name for name in {*vars(Context), *Context.__annotations__} if not name.startswith("_")
)


class OutsideError(AttributeError):
    """A method reached for something that the contract does not offer."""


@dataclass
class Watch:
    """What a method did that the contract does not allow, in the order of doing."""

    seen: list[str] = field(default_factory=list)

    def refuse(self, what: str) -> NoReturn:
        """Note what was done, for methods that catch errors, and raise."""
        self.seen.append(what)
        raise OutsideError(f"{what}, which the contract does not offer")


@dataclass(frozen=True)
class GuardedDataset(ImageDataset):
    """A training split that notes a reach for more than the contract offers."""

    watch: Watch = field(default_factory=Watch, repr=False, compare=False)

    @classmethod
    def of(cls, data: ImageDataset, watch: Watch) -> GuardedDataset:
        """Return a guarded copy whose arrays cannot be written."""
        images, labels = data.images.copy(), data.labels.copy()
        images.setflags(write=False)
        labels.setflags(write=False)
        return cls(images, labels, data.classes, data.keys, watch)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # how Python and numpy ask an object what it can do
            raise AttributeError(name)
        self.watch.refuse(f"it reads train.{name}")


class GuardedContext:
    """A context that offers what :class:`bench.contract.Context` names and nothing else."""

    __slots__ = ("__context", "__watch")
    __context: Context
    __watch: Watch

    def __init__(self, context: Context, watch: Watch) -> None:
        object.__setattr__(self, "_GuardedContext__context", context)
        object.__setattr__(self, "_GuardedContext__watch", watch)

    def __getattr__(self, name: str) -> Any:
        if name in _OFFERED:
            return getattr(self.__context, name)
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__watch.refuse(f"it reads ctx.{name}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        self.__watch.refuse(f"it sets ctx.{name}")


class UnloadedDataset(ImageDataset):
    """A training split before it is loaded: nothing of it can be read."""

    def __init__(self, watch: Watch) -> None:
        object.__setattr__(self, "__watch__", watch)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        return UnloadedDataset._refuse(self, f"train.{name}")

    def __len__(self) -> int:
        return UnloadedDataset._refuse(self, "len(train)")

    def _refuse(self, what: str) -> NoReturn:
        watch: Watch = object.__getattribute__(self, "__watch__")
        watch.refuse(f"it reads {what}")


@contextlib.contextmanager
def no_data_sets(watch: Watch) -> Iterator[None]:
    """Refuse, within the block, to load a data set by its registered class."""

    def refuse(dataset: Any, source: object) -> NoReturn:
        watch.refuse(f"it loads the data set {dataset.name}, test split included")

    with contextlib.ExitStack() as undo:
        for name in DATASETS.names():
            family = DATASETS.get(name).__mro__
            owner: Any = next(one for one in family if "load" in vars(one))
            undo.callback(setattr, owner, "load", vars(owner)["load"])
            owner.load = refuse
        yield


def global_random_states() -> dict[str, object]:
    """Return the states of the generators that a whole process shares, by name."""
    import torch

    shared = np.random.get_state(legacy=False)
    return {
        "random": random.getstate(),
        "numpy.random": (
            shared["state"]["key"].tobytes(),
            shared["state"]["pos"],
            shared["has_gauss"],
            shared["gauss"],
        ),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
