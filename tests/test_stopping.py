"""Being ended from outside: how often, and what is told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bench.cli import main, stopping
from bench.cli.stopping import Terminated


class Clock:
    """Time that a test lets pass."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def unanswered() -> Iterator[None]:
    """Have nobody answer SIGTERM before the command does."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_second_sigterm_ends_what_the_first_began_and_a_third_is_the_system_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock: Any = Clock()
    monkeypatch.setattr(stopping, "time", clock)
    stopping.listen()
    with pytest.raises(Terminated):
        terminate()
    clock.now += 0.5
    terminate()  # sent to the group, and to each
    clock.now += 1
    with pytest.raises(Terminated):
        terminate()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("arguments", "slow", "told"),
    [
        (["merge", "a", "--into", "b"], "bench.merging.merge", True),
        (["doctor"], "bench.cli.doctor._here", False),
    ],
)
def test_only_a_command_that_goes_on_says_so(
    arguments: list[str],
    slow: str,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    monkeypatch.setattr(slow, lambda *given: terminate())
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 143
    goes_on = ": the same command goes on from what is complete" * told
    assert capsys.readouterr().err.strip() == f"ended by SIGTERM{goes_on}"
