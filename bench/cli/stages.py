"""How far a long stage has come and how long it will take, on a terminal or in lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from bench.cli.counting import clock
from bench.progress import Progress

_FIRST_S = 3.0
"""Seconds of a stage after which its time left is estimated, and told first."""
_LONG_S = 60.0
_QUIET_S = 10.0
_MOST_QUIET_S = 300.0


@contextmanager
def stages() -> Iterator[Progress]:
    """Give the display of one computation's stages that suits where standard error goes to."""
    progress = _Bar() if sys.stderr.isatty() else Lines()
    try:
        yield progress
    finally:
        progress.end()


class Pace:
    """The speed of a stage, from what was done since its second sign of life.

    So a stage that goes on after an interruption is judged by this process alone, and its first
    step, which also imports and warms up, is not taken for a usual one.
    """

    def __init__(self) -> None:
        self.stage = ""
        self._start = self._first = 0.0
        self._is_warm = False

    def heard(self, stage: str, done: int, now: float) -> bool:
        """Take note of a stage; return whether it is a new one."""
        is_new = stage != self.stage
        if is_new or (done > self._first and not self._is_warm):
            self.stage, self._start, self._first = stage, now, done
            self._is_warm = not is_new
        return is_new

    def passed(self, now: float) -> float:
        """Return the seconds since the stage was first heard of."""
        return now - self._start

    def left(self, done: int, total: int, now: float) -> float | None:
        """Return the seconds that the stage will still take; None where that is not known."""
        advanced = done - self._first
        if advanced <= 0 or not total or self.passed(now) < _FIRST_S:
            return None
        return self.passed(now) * (total - done) / advanced


class Lines(Progress):
    """A line when a stage begins, turns out to be long, now and then after that, and at its end."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._last = time.monotonic()
        self._is_estimated = False
        self._is_ended = False

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell a new stage, how long it will take, now and then how far it is, and its end."""
        now = time.monotonic()
        if self._pace.heard(stage, done, now):
            self._is_estimated = False
            self._is_ended = 0 < total <= done
            self._tell(f"{stage} {done:,}/{total:,}" if total else stage, now)
            return
        if 0 < total <= done and not self._is_ended:
            self._is_ended = True
            self._tell(f"{stage} {done:,}/{total:,}", now)
            return
        left = self._pace.left(done, total, now)
        is_first_estimate = left is not None and left > _LONG_S and not self._is_estimated
        quiet = min(_MOST_QUIET_S, max(_QUIET_S, self._pace.passed(now) / 10))
        if is_first_estimate or now - self._last > quiet:
            self._is_estimated = left is not None
            estimate = "" if left is None else f", about {clock(left)} left"
            self._tell(f"{stage} {done:,}/{total:,}{estimate}" if total else stage, now)

    def _tell(self, text: str, now: float) -> None:
        self._last = now
        click.echo(text, err=True)


class _Bar(Progress):
    """A bar that is kept up to date and taken away at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._pace = Pace()
        self._view = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar = self._view.add_task("", total=None, told="")
        self._view.start()

    def stage(self, stage: str, done: int, total: int) -> None:
        """Show the stage."""
        now = time.monotonic()
        self._pace.heard(stage, done, now)
        left = self._pace.left(done, total, now)
        estimate = "" if left is None else f", about {clock(left)} left"
        told = f"{done:,}/{total:,}{estimate}" if total else ""
        self._view.update(
            self._bar, description=stage, completed=done, total=total or None, told=told
        )

    def end(self) -> None:
        """Take the bar away."""
        self._view.stop()
