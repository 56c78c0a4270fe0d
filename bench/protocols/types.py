"""What a protocol's fields may be; protocols that change a default name them again."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from bench.components import Between

NO_POLICY = "none"


class RandAugmentPolicy:
    """The rule of a text parameter that is a policy of RandAugment in timm's words."""

    def accept(self, value: str) -> str:
        """Return the policy; raise ValueError for none."""
        if value != NO_POLICY and not re.fullmatch("rand(-(m|mstd|mmax|n|inc|p)[0-9.]+)+", value):
            raise ValueError(value)
        return value

    def __str__(self) -> str:
        return "such as rand-m9-mstd0.5-inc1, or none"


Count = Annotated[int, Between(1)]
CountOrNone = Annotated[int, Between(0)]
Amount = Annotated[float, Between(0)]
Fraction = Annotated[float, Between(0, 1)]
Shards = Annotated[int, Between(1, 1024)]
Looks = Annotated[int, Between(1, 16)]
CropShare = Annotated[float, Between(0.1, 1)]
Padding = Annotated[int, Between(0, 64)]
Policy = Annotated[str, RandAugmentPolicy()]
Augmentation = Literal["none", "crop", "crop+flip", "dsa", "resized-crop+flip"]
NormalisedBy = Literal["dataset", "released", "condensation", "deepcore", "imagenet"]
Match = Literal["epochs", "steps"]
Schedule = Literal["epoch", "step", "drop"]
Optimizer = Literal["sgd", "adamw"]
LastBatch = Literal["keep", "drop", "even"]
Decays = Literal["all", "matrices"]
Fill = Literal["zeros", "reflect"]
PrecisionAsked = Literal["auto", "fp32", "bf16"]
