"""Data sets by name; naming one is light, loading one reads its images."""

from __future__ import annotations

from bench.datasets import cifar, digits, imagefolder, imagenet
from bench.datasets.base import DATASETS, Dataset, Source, Splits

__all__ = ["DATASETS", "Dataset", "Source", "Splits", "cifar", "digits", "imagefolder", "imagenet"]
