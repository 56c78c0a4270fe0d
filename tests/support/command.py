"""The real command in a process of its own, forked from one that has imported everything.

To import torch and what its optimizers need takes more than five seconds of processor time;
several hundred runs of the command would pay it anew. A forked process has its own memory,
folder, environment, signals and exit code: what a test does to it, it does to a real process.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

COMMAND = [sys.executable, "-c", "from bench.cli import main; main()"]  # an interpreter of its own
_CONTEXT = multiprocessing.get_context("forkserver")


class Running:
    """A run of the command; used as a `subprocess.Popen` with its output as text.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``bench``.
    cwd : Path
        The folder that it runs in.
    env : mapping of str to str, optional
        The whole environment; by default that of the tests. PYTHONPATH is honoured.
    """

    def __init__(
        self, arguments: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.args = list(map(str, arguments))
        self._folder = tempfile.TemporaryDirectory(prefix="bench-output-")
        self._files = [Path(self._folder.name, name) for name in ("out", "err")]
        environment = dict(os.environ if env is None else env)
        _start_server()
        self._process = _CONTEXT.Process(
            target=_run, args=(self.args, str(cwd), environment, *map(str, self._files))
        )
        self._process.start()
        self.pid: int = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit code, less than 0 after a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 300) -> int:
        """Wait until it has ended; raise `subprocess.TimeoutExpired` when it has not."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(["bench", *self.args], timeout)
        return code

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait as `wait` does; return what was written to both outputs."""
        self.wait(timeout)
        out, err = (file.read_text() if file.exists() else "" for file in self._files)
        return out, err

    def send_signal(self, number: signal.Signals | int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by SIGKILL, if it still runs."""
        self.send_signal(signal.SIGKILL)


def run_command(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as `subprocess.run` does."""
    process = Running(arguments, cwd, env)
    try:
        out, err = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(["bench", *process.args], process.returncode or 0, out, err)


@functools.cache
def _start_server() -> None:
    """Start the process that imports everything once; it finds modules by its environment."""
    _CONTEXT.set_forkserver_preload(["imported_once"])
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(arguments: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """Become the command: folder, environment, outputs and arguments, then its main function."""
    for name, number in ((out, 1), (err, 2)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    more = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [place for place in more if place and place not in sys.path]
    sys.argv = ["bench", *arguments]
    from bench.cli import main

    main()
