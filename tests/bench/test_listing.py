"""What ``bench list`` prints: text without marks, and one line for a wrong kind."""

from __future__ import annotations

import re

import pytest

from bench.cli import cli
from bench.contract import METHODS
from bench.errors import UsageError


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_in_full_shows_no_marks(capsys: pytest.CaptureFixture[str], name: str) -> None:
    cli.main(["list", "methods", name], prog_name="bench", standalone_mode=False)
    assert not re.search(r":[a-z]+:`|``|\\[a-z]", capsys.readouterr().out)


def test_an_unknown_kind_is_told_with_the_closest() -> None:
    with pytest.raises(UsageError, match=r"unknown kind 'method'\. Did you mean 'methods'\?"):
        cli.main(["list", "method"], prog_name="bench", standalone_mode=False)
