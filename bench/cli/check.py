"""``bench check``: the conformance kit, for our methods and for anyone's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from bench.cli.codes import SOME_FAILED, WRONG_USE
from bench.cli.options import debug_option, json_option
from bench.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bench.conformance import Finding, Subject


def _names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from bench.contract import METHODS

    return [CompletionItem(name) for name in METHODS.names() if name.startswith(incomplete)]


@click.command()
@click.argument("methods", metavar="[METHOD]...", nargs=-1, shell_complete=_names)
@click.option("--all", "every", is_flag=True, help="Check every method there is.")
@json_option
@debug_option
@click.pass_context
def check(context: click.Context, methods: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Try what every method promises, on a small data set of the check's own.

    METHOD is a name with parameters as in --methods, e.g. 'adq[alpha=0.7]'. No results folder is
    touched. Exit code: 0 all pass, 1 something fails, 2 wrong use.
    """
    chosen = _chosen(methods, every)
    _prepare()
    reports = []
    for subject in chosen:
        report = _Report(subject, alone=len(chosen) == 1)
        for line in report.lines():
            if not as_json:
                click.echo(line)
        reports.append(report)
    if as_json:
        click.echo(json.dumps({"methods": [report.to_json() for report in reports]}, indent=1))
    context.exit(_code(reports))


def _chosen(methods: tuple[str, ...], every: bool) -> list[Subject]:
    from bench.conformance import subjects
    from bench.contract import METHODS

    if every == bool(methods):
        raise UsageError("Name methods, or give --all. See: bench list methods")
    if every:
        for name, reason in METHODS.broken().items():
            click.echo(f"warning: {name}: broken plugin, not checked ({reason})", err=True)
        methods = tuple(name for name in METHODS.names() if not _is_left_out(name))
    return subjects(",".join(methods))


def _is_left_out(name: str) -> bool:
    from bench.contract import METHODS

    required = METHODS.get(name).info.required
    if required:
        click.echo(f"note: {name} is checked only with its {' and '.join(required)}", err=True)
    return bool(required)


def _prepare() -> None:
    from bench.conformance.data import SIDE
    from bench.execution import default_threads, resolve_device

    resolve_device("cpu")  # tells in a line where torch cannot be loaded
    import torch

    torch.set_num_threads(default_threads(SIDE))


class _Report:
    """The findings on one method, as lines while they are made and as JSON afterwards."""

    def __init__(self, subject: Subject, alone: bool) -> None:
        self.refusal = ""
        self.failed = 0
        self._subject = subject
        self._alone = alone
        self._findings: list[Finding] = []
        self._seconds = 0.0

    def lines(self) -> Iterator[str]:
        """Check the method; a refusal ends the command unless other methods follow."""
        from bench.conformance import Verdict, check

        start = time.monotonic()
        yield self._subject.words
        try:
            for finding in check(self._subject.method):
                self._findings.append(finding)
                self.failed += finding.verdict is Verdict.FAIL
                yield f"  {finding.name:20}{finding.verdict.value}: {finding.told}"
        except UsageError as error:
            if self._alone:
                raise
            self.refusal = str(error)
            yield f"  not checked: {error}"
            return
        self._seconds = time.monotonic() - start
        yield f"  {self._summary()} ({self._seconds:.1f} s)"

    def _summary(self) -> str:
        if self.failed:
            return f"{self.failed} of {len(self._findings)} properties fail"
        return f"all of {len(self._findings)} properties pass or do not apply"

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "method": self._subject.asked,
            "checked_as": self._subject.method.spec,
            "seconds": self._seconds,
            "failed": self.failed,
            "refusal": self.refusal,
            "properties": [finding.to_json() for finding in self._findings],
        }


def _code(reports: list[_Report]) -> int:
    if any(report.failed for report in reports):
        return SOME_FAILED
    return WRONG_USE if any(report.refusal for report in reports) else 0
