"""What every model offers, and the registry of their names."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from bench.components import Component
from bench.models import timm_names
from bench.registry import Others, Registry

if TYPE_CHECKING:
    from bench.models.networks import Network
    from bench.weights import Weights

Shape = tuple[int, int, int]
"""Height, width and channels of an image."""


class Model(Component):
    """An architecture by name."""

    about: ClassVar[str] = ""
    choice: ClassVar[str] = ""
    """What of it no paper states and is our choice; stands in every record."""
    gains_by_bf16_on_cpu: ClassVar[bool] = True
    """Whether a processor with bf16 units trains it faster in bf16."""

    @property
    def uses_pretrained_weights(self) -> bool:
        """Whether the network comes with weights that were learned elsewhere."""
        return bool(self.weights())

    def untrained(self) -> Model:
        """Return the same architecture with random weights."""
        return self

    @abstractmethod
    def build(self, shape: Shape, classes: int) -> Network:
        """Return the network with fresh weights, drawn from torch's global generator."""


MODELS: Registry[Model] = Registry(
    "model",
    Model,
    others=Others(
        library="timm",
        component="timm",
        parameter="architecture",
        has=timm_names.has,
        matching=timm_names.matching,
        nearest=timm_names.nearest,
        told=timm_names.told,
    ),
)


class NamesModel:
    """The rule of a text parameter that names a model, e.g. ``extractor=resnet8[width=32]``."""

    def accept(self, value: str) -> str:
        """Return the model's shortest spec; raise a UsageError when it names none."""
        return MODELS.make_one(value).spec

    def identity(self, value: str) -> dict[str, Any]:
        """Return the identity of the model that a value names."""
        return MODELS.make_one(value).identity()

    def weights(self, value: str) -> tuple[Weights, ...]:
        """Return the pretrained weights of the model that a value names."""
        return MODELS.make_one(value).weights()

    def __str__(self) -> str:
        return "that names a model (bench list models)"
