"""``bench completion``: the shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_BENCH_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def script(context: click.Context, shell: str) -> None:
    """Print the completion script: eval "$(bench completion bash)"."""
    completion = get_completion_class(shell)
    assert completion is not None  # the choices above are click's own
    root = context.find_root().command
    source = completion(root, {}, "bench", VARIABLE).source()
    # click's fish script cuts a value at its first comma, as in --methods dq,adq
    click.echo(source.replace('string split ","', 'string split --max 1 ","'))
