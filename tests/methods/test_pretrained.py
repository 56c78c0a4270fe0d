"""Pretrained weights: found where they lie without asking, told which they are, refused early."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
import timm
import torch
from command import COMMAND
from safetensors.torch import save_file

from bench.budgets import Budget
from bench.cells import Cell
from bench.context import RunContext
from bench.contract import METHODS
from bench.datasets import DATASETS
from bench.errors import UsageError
from bench.models import MODELS
from bench.models.pretrained import TimmWeights
from bench.planning import needed_weights
from bench.protocols import PROTOCOLS
from bench.results import Results

NAME = "test_resnet.r160_in1k"
SPEC = f"timm[architecture={NAME},pretrained=true]"


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Empty caches and no network: what asks for it fails the test."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """Weights for the network, which are not its initial ones."""
    made = timm.create_model(NAME, pretrained=False).state_dict()
    return {name: torch.full_like(value, 0.25) for name, value in made.items()}


def hub_cached(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    repository = folder / "hub" / f"models--timm--{NAME}"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    save_file(state, snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def own_file(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    (folder / "own").mkdir()
    torch.save(state, folder / "own" / f"{NAME}.pth")
    return folder / "own" / f"{NAME}.pth"


def torch_cached(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    place = folder / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    torch.save(state, place / "resnet18-f37072fd.pth")
    return place / "resnet18-f37072fd.pth"


@pytest.mark.parametrize("stored", [hub_cached, own_file])
def test_stored_weights_are_loaded_without_asking_the_network(stored, state, tmp_path):
    path = stored(tmp_path, state)
    network = MODELS.make_one(SPEC).build((32, 32, 3), 7)
    assert network.body.conv1[0].weight.eq(0.25).all()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert network.pretrained == {"name": NAME, "sha256": sha256}


def test_weights_in_torch_s_cache_are_found(state, tmp_path):
    path = torch_cached(tmp_path, state)
    assert TimmWeights("resnet18.tv_in1k").obtain() == path


def test_what_the_user_put_there_comes_first(state, tmp_path):
    hub_cached(tmp_path, state)
    path = own_file(tmp_path, state)
    assert TimmWeights(NAME).find() == path


def test_the_identity_names_the_weights_before_any_file_is_there():
    identity = METHODS.make_one(f"adq[extractor={SPEC}]").identity()
    assert NAME in json.dumps(identity["named"]["extractor"])
    other = METHODS.make_one(f"adq[extractor={SPEC.replace('r160', 'r224')}]")
    assert other.identity() != identity


def test_a_name_without_its_tag_leaves_open_which_weights():
    with pytest.raises(UsageError, match=r"leaves open which weights.*resnet18\.tv_in1k"):
        MODELS.make_one("timm[architecture=resnet18,pretrained=true]")


def test_weights_that_timm_does_not_know_are_told():
    with pytest.raises(UsageError, match=r"does not know.*resnet18\.tv_in1k"):
        TimmWeights("resnet18.best").obtain()


def test_a_file_of_another_network_is_told_with_its_path(tmp_path):
    (tmp_path / "own").mkdir()
    path = tmp_path / "own" / f"{NAME}.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(UsageError, match=str(path)):
        MODELS.make_one(SPEC).build((32, 32, 3), 7)


def test_the_record_tells_the_file_s_sum(state, tmp_path, context, noise):
    path = own_file(tmp_path, state)
    method = METHODS.make_one(f"herding[extractor={SPEC}]")
    ctx = context()
    embeddings = method.embeddings(noise, ctx)
    assert embeddings["features"].shape[0] == len(noise)
    told = [cost["told"] for cost in ctx.costs.values() if "told" in cost]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert told == [{"weights": {"name": NAME, "sha256": sha256}}]


@pytest.mark.parametrize(
    ("architecture", "width"),
    [
        ("resnet10t", 64 + 64 + 128 + 256),
        ("test_convnext", 24 + 32 + 48),
        ("vit_tiny_patch16_224", 3 * 192),
        ("swin_tiny_patch4_window7_224", 96 + 192 + 384),
        ("mobilenetv2_050", 8 + 16 + 16 + 48),
    ],
)
def test_intermediate_features_are_those_of_earlier_stages(architecture, width):
    network = MODELS.make_one(f"timm[architecture={architecture}]").build((32, 32, 3), 5).eval()
    images = torch.randn(2, 3, *network.input_size)
    with torch.inference_mode():
        features = network.features(images)
        levels = network.body.forward_intermediates(images, intermediates_only=True)
        last_map = network.body.forward_features(images)
        penultimate = network.body.forward_head(last_map, pre_logits=True)
    assert features.intermediate.shape == (2, width)
    assert torch.equal(features.penultimate, penultimate)
    count = len(levels)
    chosen = (
        range(count - 1) if count <= 6 else [count // 4 - 1, count // 2 - 1, 3 * count // 4 - 1]
    )
    means = torch.cat([levels[place].mean((2, 3)) for place in chosen], dim=1)
    assert torch.equal(features.intermediate, means)


@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_transformers_take_images_at_their_own_size_or_say_why_not(architecture):
    network = MODELS.make_one(f"timm[architecture={architecture}]").build((64, 64, 3), 5).eval()
    network.take_size((64, 64))
    with torch.inference_mode():
        assert network(torch.randn(2, 3, 64, 64)).shape == (2, 5)
    if architecture.startswith("swin"):
        return  # pads to whole windows
    with pytest.raises(UsageError, match=r"does not take images of 9 x 9 pixels"):
        network.take_size((9, 9))


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (f"dq[extractor={SPEC}]", NAME),
        (f"classwise[base=herding[extractor={SPEC}]]", NAME),
        ("dq[drop=0.25,mae=vit-large]", "mae_visualize_vit_large_ganloss.pth"),
    ],
)
def test_missing_weights_are_told_before_anything_is_run(tmp_path, method, name):
    def bench(*arguments):  # an interpreter of its own: Hugging Face reads these when imported
        return subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, env=nowhere,
            timeout=300, check=False,
        )  # fmt: skip

    nowhere = {
        **os.environ,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    done = bench("run", "--methods", method, "--ratios", "10")
    assert done.returncode == 2
    notice, *error = done.stderr.splitlines()
    assert name in notice
    assert len(error) <= 2
    assert "BENCH_WEIGHTS" in done.stderr
    assert not (tmp_path / "results").exists()
    planned = bench("plan", "--methods", method, "--json")
    assert json.loads(planned.stdout)["missing_weights"] == [name]


def test_weights_are_not_needed_where_their_artefacts_are_made(state, tmp_path, context, noise):
    path = own_file(tmp_path, state)
    method = METHODS.make_one(f"herding[extractor={SPEC}]")
    results = Results(tmp_path / "results")
    cell = Cell(
        DATASETS.make_one("digits"), "print", method, Budget.parse("10"), 0,
        MODELS.make_one("resnet8"), PROTOCOLS.make_one("smoke"), 0,
    )  # fmt: skip
    assert needed_weights([cell], results) == [TimmWeights(NAME)]
    ctx = RunContext(
        cell.identity()["dataset"], 0, "cpu", results.artefacts, results.leases, results.checkpoint
    )
    for artefact in method.artefacts(noise, ctx):
        artefact.arrays()
    path.unlink()
    assert needed_weights([cell], results) == []
