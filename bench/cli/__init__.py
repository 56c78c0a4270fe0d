"""The ``bench`` command: arguments in, calls out. The top floor.

Nothing heavy is imported before a command needs it, so that ``bench --help`` is instant.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from bench.cli import (
    check,
    cluster,
    completion,
    compress,
    doctor,
    inspect,
    listing,
    pictures,
    reproduce,
    retry,
    run,
    stopping,
    store,
)
from bench.cli.codes import SOME_FAILED, WRONG_USE
from bench.errors import BenchError, ProcessError, UsageError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dataset-compression-bench", prog_name="bench")
def cli() -> None:
    """Tell which way of shrinking an image training set works, and at what cost.

    \b
    bench run --methods dq,adq --ratios 10,20,30     compute, then show a table and a report
    bench plan --methods dq,adq --ratios 10,20,30    what that would compute; runs nothing
    bench list methods                               what there is
    """  # noqa: D301  # click needs the true character


for command in (
    run.run, run.plan, reproduce.reproduce, compress.compress, check.check, pictures.pictures,
    inspect.report, inspect.why, store.merge, store.export, listing.listing, completion.script,
    cluster.status, cluster.cancel, retry.retry, cluster.clean, doctor.doctor,
):  # fmt: skip
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command and exit.

    0 done, 1 some cells failed, 2 refused, 130 interrupted, 143 ended by SIGTERM.
    """
    stopping.listen()
    try:
        code = cli.main(prog_name="bench", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = WRONG_USE
    except click.ClickException as error:
        code = _tell(UsageError(_advice(error)), WRONG_USE)
    except UsageError as error:
        code = _tell(error, WRONG_USE)
    except BenchError as error:
        code = _tell(error, SOME_FAILED)
    except (KeyboardInterrupt, click.Abort) as stop:  # click makes one of the other
        code = stopping.told(stop)
    sys.exit(code or 0)


def _advice(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "bench"
    told = " ".join(error.format_message().split())
    return f"{told}{'' if told.endswith(('.', '?', ')')) else '.'} See: {command} --help"


def _tell(error: BenchError, code: int) -> int:
    if "--debug" in sys.argv:
        raise error
    if isinstance(error, ProcessError) and error.traceback:
        click.echo(error.traceback, err=True)
    click.echo(f"error: {error}", err=True)
    return code
