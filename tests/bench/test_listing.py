"""What ``bench list`` prints: text without marks, and one line for a wrong kind."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from bench.cli import cli
from bench.contract import METHODS
from bench.errors import UsageError
from bench.protocols import PROTOCOLS


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_in_full_shows_no_marks(capsys: pytest.CaptureFixture[str], name: str) -> None:
    cli.main(["list", "methods", name], prog_name="bench", standalone_mode=False)
    assert not re.search(r":[a-z]+:`|``|\\[a-z]", capsys.readouterr().out)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.main(["list", *arguments], prog_name="bench", standalone_mode=False)
    return capsys.readouterr().out


def test_a_parameter_that_was_added_later_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "  over (str) = classes\n      classes or bins\n" in told(capsys, "methods", "dqas")
    (entry,) = json.loads(told(capsys, "methods", "dqas", "--json"))["methods"]
    assert "over" in [one["name"] for one in entry["parameters"]]


def test_a_name_of_timm_is_listed_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "models", "resnet34")
    assert text.startswith("resnet34: any timm network")
    for line in (
        r"stands for +timm\[architecture=resnet34\]",
        r"made for +224 x 224 pixels",
        r"pretrained +resnet34\.a1_in1k",
        r"architecture \(str\) = resnet34",
    ):
        assert re.search(rf"^  {line}", text, re.MULTILINE)
    (entry,) = json.loads(told(capsys, "models", "resnet34", "--json"))["models"]
    assert entry["facts"]["stands for"] == "timm[architecture=resnet34]"


def test_a_pattern_lists_ours_and_those_of_timm(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, "models", "resnet1*").splitlines()
    assert lines[0].startswith("resnet18: ResNet-18 with the CIFAR stem")
    assert "resnet101: of timm" in lines
    assert "resnet18: of timm" not in lines  # the bare name is ours
    found = json.loads(told(capsys, "models", "vit_tiny*", "--json"))
    assert found["models"] == []
    assert "vit_tiny_patch16_224" in found["timm"]


def test_a_pattern_lists_methods(capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        entry["name"] for entry in json.loads(told(capsys, "methods", "d?", "--json"))["methods"]
    ]
    assert names == ["d2", "dm", "dq"]


def test_a_pattern_that_nothing_is_like_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no model is like 'zz\*'\. See: bench list models"):
        cli.main(["list", "models", "zz*"], prog_name="bench", standalone_mode=False)


def test_an_unknown_kind_is_told_with_the_closest() -> None:
    with pytest.raises(UsageError, match=r"unknown kind 'method'\. Did you mean 'methods'\?"):
        cli.main(["list", "method"], prog_name="bench", standalone_mode=False)


def test_protocols_are_listed_with_all_that_they_fix(capsys: pytest.CaptureFixture[str]) -> None:
    words = " ".join(told(capsys, "protocols").split())
    for name in PROTOCOLS.names():
        protocol = PROTOCOLS.make_one(name)
        fixed = [
            f"{one.name}={str(value).lower() if isinstance(value, bool) else value}"
            for one in dataclasses.fields(protocol)
            for value in [getattr(protocol, one.name)]
        ]
        whole = ", ".join([f"version {protocol.version}", *fixed])
        assert f"{name}: {protocol.about} {whole}" in words
