"""What timm's networks are called. The names are timm's; asking for them imports it."""

from __future__ import annotations

import difflib
from typing import Any


def has(name: str) -> bool:
    """Return whether timm has a network of a name, with or without its weights' tag."""
    import timm
    from timm.models import is_model_pretrained

    return timm.is_model(name) and ("." not in name or is_model_pretrained(name))


def matching(pattern: str) -> list[str]:
    """Return the names that a pattern with ``*`` and ``?`` matches."""
    import timm

    names: list[str] = timm.list_models(pattern)
    return names


def nearest(name: str, most: int = 3) -> list[str]:
    """Return names like a wrong one: those that begin with it, then those spelled alike."""
    asked = name.lower()
    if "." in asked and (known := tagged(asked)):  # only the tag is wrong
        return known[:most]
    names = matching("*")
    longer = [one for one in names if one.startswith(asked)]
    alike = difflib.get_close_matches(asked, names, n=most)
    return list(dict.fromkeys([*longer[: most - 1], *alike, *longer]))[:most]


def tagged(name: str) -> list[str]:
    """Return the names of all weights of an architecture."""
    import timm

    names: list[str] = timm.list_pretrained(f"{name.partition('.')[0]}.*")
    return names


def told(name: str) -> dict[str, str]:
    """Return the size that a network is made for, and which weights there are."""
    import timm

    configuration: Any = timm.get_pretrained_cfg(name)
    height, width = configuration.input_size[1:]
    return {
        "made for": f"{height} x {width} pixels; others are resized to that",
        "pretrained": ", ".join(tagged(name)) or "nothing",
    }
