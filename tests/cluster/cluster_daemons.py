"""A real Slurm cluster on this machine, as processes of our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster_settings import (
    ACCOUNTING,
    GRES_CONF,
    NO_ACCOUNTING,
    SLURM_CONF,
    SLURMDBD_CONF,
)

PROGRAMS = (
    "munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch",
    "setpriv",
)  # fmt: skip
os.environ["PATH"] += f"{os.pathsep}/usr/sbin"  # the daemons' place, not on everybody's path
NODES = ("node1", "node2")
_ADDED = "# added\n"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_for(what: Callable[[], Any], seconds: float = 300, every: float = 0.3) -> Any:
    """Wait until something is true, and return it."""
    limit = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > limit:
            raise TimeoutError(f"{seconds} s have passed")
        time.sleep(every)
    return found


@dataclass
class Cluster:
    """The daemons of a cluster, as processes of our own."""

    folder: Path
    has_accounting: bool = True
    ports: list[int] = field(default_factory=lambda: free_ports(5))
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "COVERAGE"))}
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return clean | threads | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        folder = self.folder
        for name in ("state", "spool-node1", "spool-node2"):
            (folder / name).mkdir()
        for number in range(4):
            (folder / f"gpu{number}").touch()
        self._munge()
        if self.has_accounting:
            self._database()
        accounting = ACCOUNTING if self.has_accounting else NO_ACCOUNTING
        values = {"folder": folder, "ports": self.ports}
        told = SLURM_CONF.format(accounting=accounting.format(**values), **values)
        (folder / "slurm.conf").write_text(told)
        (folder / "gres.conf").write_text(GRES_CONF.format(**values))
        self.mend()

    def mend(self) -> None:
        """Start what does not run, cancel all jobs, and wait until both nodes are idle."""
        self.configure()
        if "slurmctld" not in self.daemons:
            self.start_controller()
        for node in NODES:
            if f"slurmd {node}" not in self.daemons:
                self.start_node(node)
        if not self.is_idle():
            self.slurm("scancel", "--user=root")
        wait_for(self._is_ready)

    def configure(self, line: str = "") -> None:
        """Have the controller take one more line of settings; none takes back the last."""
        path = self.folder / "slurm.conf"
        usual = path.read_text().partition(_ADDED)[0]
        told = f"{usual}{_ADDED}{line}\n" if line else usual
        if told != path.read_text():
            path.write_text(told)
            self.slurm("scontrol", "reconfigure")

    def _is_ready(self) -> bool:
        states = self.slurm("sinfo", "-h", "-N", "-o", "%T").split()
        if set(states) == {"idle"} and self.is_idle():
            return True
        if any(state.startswith(("drain", "down")) for state in states):
            self.slurm("scontrol", "update", f"NodeName={','.join(NODES)}", "State=RESUME")
        return False

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._daemon(
            "munged", "--foreground", "--force", f"--key-file={key}",
            *(f"--{name}-file={self.folder}/munge.{name}" for name in ("pid", "log", "seed")),
            f"--socket={self.folder}/munge.sock",
        )  # fmt: skip
        wait_for((self.folder / "munge.sock").exists)

    def _install_database(self, data: Path) -> None:
        """Make the database's files; on a busy machine the program fails at times, so thrice."""
        for _ in range(3):
            shutil.rmtree(data, ignore_errors=True)
            done = subprocess.run(
                ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=mysql",
                 "--auth-root-authentication-method=normal", "--skip-test-db",
                 "--innodb-use-native-aio=0"],
                check=False, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode == 0:
                return
            time.sleep(2)
        raise RuntimeError(f"mariadb-install-db failed thrice: {done.stdout}\n{done.stderr}")

    def _database(self) -> None:
        data = self.folder / "database"
        sock = data / "my.sock"  # the only folder that mysql may write in
        self._install_database(data)
        self._daemon(
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={sock}", "--user=mysql",
            f"--port={self.ports[4]}", "--bind-address=127.0.0.1", f"--pid-file={data}/my.pid",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-use-native-aio=0",
        )  # fmt: skip
        grant = (
            "create user slurm@'127.0.0.1' identified by 'testing'; create user slurm@localhost "
            "identified by 'testing'; grant all on slurm_acct_db.* to slurm@'127.0.0.1'; "
            "grant all on slurm_acct_db.* to slurm@localhost;"
        )

        def is_made() -> bool:
            asked = ["mariadb", "--no-defaults", f"--socket={sock}", "-uroot", "-e", grant]
            return subprocess.run(asked, capture_output=True, check=False).returncode == 0

        wait_for(is_made)
        settings = self.folder / "slurmdbd.conf"
        settings.write_text(SLURMDBD_CONF.format(folder=self.folder, ports=self.ports))
        settings.chmod(0o600)
        (self.folder / "slurm.conf").write_text("")
        self._daemon("slurmdbd", "-D")
        log = self.folder / "slurmdbd.log"
        wait_for(lambda: log.exists() and " started" in log.read_text())

    def start_controller(self) -> None:
        self._daemon("slurmctld", "-D")
        wait_for(lambda: "UP" in self.slurm("scontrol", "ping"))

    def start_node(self, node: str) -> None:
        self._daemon(f"slurmd {node}", "-D", "-N", node)

    def _daemon(self, name: str, *arguments: str) -> None:
        program = shutil.which(name.partition(" ")[0])
        assert program is not None
        with_us = ("setpriv", "--pdeathsig", "TERM")  # no daemon outlives tests that are killed
        with (self.folder / f"{name.replace(' ', '-')}.out").open("ab") as told:
            self.daemons[name] = subprocess.Popen(
                [*with_us, program, *arguments], stdout=told, stderr=told, env=self.environment
            )

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        daemon = self.daemons.pop(name)
        daemon.send_signal(number)
        daemon.wait(30)

    def stop(self) -> None:
        if "slurmctld" in self.daemons:
            with contextlib.suppress(TimeoutError, subprocess.TimeoutExpired):
                self.slurm("scancel", "--user=root")
                wait_for(self.is_idle, 30)
        for name in reversed(list(self.daemons)):
            daemon = self.daemons.pop(name)
            daemon.terminate()
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def slurm(self, *command: str) -> str:
        """What a command of Slurm prints; empty where it fails."""
        answer = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        return answer.stdout

    def jobs(self) -> list[str]:
        """The states of all jobs in the queue."""
        return self.slurm("squeue", "-h", "--array", "-o", "%T").split()

    def is_idle(self) -> bool:
        """Whether no job is left; a controller that does not answer says nothing of it."""
        answer = subprocess.run(
            ["squeue", "-h"],
            env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return answer.returncode == 0 and not answer.stdout
