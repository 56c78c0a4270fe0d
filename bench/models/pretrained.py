"""timm's pretrained weights: which ones a name means, where they lie, how they come."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.models.timm_names import tagged
from bench.weights import weights_folder

_SUFFIXES = (".safetensors", ".pth", ".bin")
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT_S = 10


@dataclass(frozen=True)
class TimmWeights:
    """The weights of a timm network, by architecture and tag, e.g. ``resnet18.tv_in1k``.

    They are looked for in the folder $BENCH_WEIGHTS (``resnet18.tv_in1k.safetensors``, ``.pth``
    or ``.bin``), then in the Hugging Face cache, then in torch's hub cache. Only what is in none
    of them is asked for over the network.
    """

    name: str

    @property
    def side(self) -> int:
        """Side in pixels of the images that they were trained on."""
        return int(self._configuration().input_size[-1])

    def find(self) -> Path | None:
        """Return the file where timm needs not be asked where it lies; None for elsewhere."""
        own = (weights_folder() / f"{self.name}{suffix}" for suffix in _SUFFIXES)
        return next((path for path in own if path.is_file()), None) or _cached(f"timm/{self.name}")

    def obtain(self) -> Path:
        """Return the file; fetch it into the Hugging Face cache where it is nowhere.

        Raises
        ------
        UsageError
            When timm knows no such weights, or they are nowhere and cannot be fetched.
        """
        return self.find() or self._known_to_timm() or self._fetched()

    def _known_to_timm(self) -> Path | None:
        """Return the file where its repository or its address has another name."""
        import torch

        configuration = self._configuration()
        if configuration.hf_hub_id:
            names = (configuration.hf_hub_filename or "", *_HUB_FILES)
            if found := _cached(configuration.hf_hub_id, tuple(filter(None, names))):
                return found
        name = (configuration.url or "").rpartition("/")[2]
        path = Path(torch.hub.get_dir()) / "checkpoints" / name
        return path if name and path.is_file() else None

    def _fetched(self) -> Path:
        from huggingface_hub import constants, hf_hub_download, hf_hub_url

        configuration = self._configuration()
        repository = configuration.hf_hub_id or f"timm/{self.name}"
        names = [configuration.hf_hub_filename] if configuration.hf_hub_filename else _HUB_FILES
        reason = "HF_HUB_OFFLINE is set"
        for name in [] if constants.HF_HUB_OFFLINE else names:
            try:
                # the hub's own client tries five times and tells each of them
                _ask(hf_hub_url(repository, name))
                with _quiet("huggingface_hub"):
                    return Path(hf_hub_download(repository, name))
            except urllib.error.HTTPError as error:
                reason = f"{name}: {error}"
            except Exception as error:  # the hub's client raises what its transport raises
                reason = str(getattr(error, "reason", error)).splitlines()[0]
                break
        raise UsageError(
            f"the weights {self.name} are not here, and {constants.ENDPOINT} does not give them "
            f"({reason}).\nPut {self.name}.safetensors or .pth into {weights_folder()} "
            "(BENCH_WEIGHTS), or choose a model without pretrained weights"
        )

    def _configuration(self) -> Any:
        import timm

        if self.name not in tagged(self.name):
            raise unknown_weights(self.name)
        return timm.get_pretrained_cfg(self.name)


def unknown_weights(name: str) -> UsageError:
    """Return the error for weights that timm does not know, or a name without its tag."""
    known = ", ".join(tagged(name)[:8]) or "none; see timm.list_pretrained()"
    said = "leaves open which weights" if "." not in name else "names weights timm does not know"
    return UsageError(
        f"timm: architecture={name} with pretrained=true {said}. Give one with its tag: {known}"
    )


def _cached(repository: str, names: tuple[str, ...] = _HUB_FILES) -> Path | None:
    """Return a file of the Hugging Face cache; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    return None


def _ask(url: str) -> None:
    """Raise where an address does not answer, at once."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):  # the hub's client may have a token
            raise


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
