"""Models by name. Naming one is light; ``build`` imports torch and makes the network."""

from bench.models import small, timm_models  # noqa: F401
from bench.models.base import MODELS, Model, NamesModel, Shape

__all__ = ["MODELS", "Model", "NamesModel", "Shape"]
