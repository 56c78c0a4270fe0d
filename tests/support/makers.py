"""Makers of artefacts."""

from __future__ import annotations

import numpy as np
import pytest

DATASET = {"name": "toys", "version": 1, "parameters": {}, "fingerprint": "f"}


class Maker:
    """Makes an array and counts how often it was asked to."""

    def __init__(self, value=1.0):
        self.value = value
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"x": np.full(3, self.value)}


def never():
    pytest.fail("this artefact must not be made")
