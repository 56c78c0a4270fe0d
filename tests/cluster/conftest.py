"""A real Slurm cluster on this machine: two virtual nodes with two stand-ins for GPUs each."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

PROGRAMS = (
    "munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch",
    "setpriv",
)  # fmt: skip
COMMAND = [sys.executable, "-c", "from bench.cli import main; main()"]
os.environ["PATH"] += f"{os.pathsep}/usr/sbin"  # the daemons' place, not on everybody's path
NODES = ("node1", "node2")
PROFILE = """\
partition = "debug"
gpus_per_node = 1
cpus = 1
memory_gb = 0.5
max_minutes = 10
"""
SLURM_CONF = """\
ClusterName=testing
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,default_queue_depth=2000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
SlurmdTimeout=15
MessageTimeout=10
ReturnToService=2
SlurmdParameters=config_overrides
MaxArraySize=100
MaxJobCount=20000
MinJobAge=10
{accounting}
NodeName=node1 NodeHostname=localhost Port={ports[1]} CPUs=2 RealMemory=8000 Gres=gpu:2
NodeName=node2 NodeHostname=localhost Port={ports[2]} CPUs=2 RealMemory=8000 Gres=gpu:2
PartitionName=debug Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 MaxTime=INFINITE State=UP
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={ports[3]}
AccountingStorageTRES=gres/gpu
AccountingStoragePass={folder}/munge.sock"""
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
GRES_CONF = """\
NodeName=node1 Name=gpu File={folder}/gpu[0-1]
NodeName=node2 Name=gpu File={folder}/gpu[2-3]
"""
SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost=localhost
DbdPort={ports[3]}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[4]}
StorageUser=slurm
StoragePass=testing
StorageLoc=slurm_acct_db
"""


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
        if "slurmctld" not in self.daemons:
            self.start_controller()
        for node in NODES:
            if f"slurmd {node}" not in self.daemons:
                self.start_node(node)
        if not self.is_idle():
            self.slurm("scancel", "--user=root")
        wait_for(self._is_ready)

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

    def _database(self) -> None:
        data = self.folder / "database"
        sock = data / "my.sock"  # the only folder that mysql may write in
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=mysql",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True,
        )  # fmt: skip
        self._daemon(
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={sock}", "--user=mysql",
            f"--port={self.ports[4]}", "--bind-address=127.0.0.1", f"--pid-file={data}/my.pid",
            "--innodb-flush-log-at-trx-commit=0",
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


@pytest.fixture(scope="session", autouse=True)
def _needs_packages() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the test cluster's packages are missing ({', '.join(missing)})")
    if os.geteuid() != 0:
        pytest.skip("the test cluster needs root")


def _started(has_accounting: bool) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    cluster = Cluster(folder, has_accounting)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with accounting."""
    yield from _started(True)


@pytest.fixture(scope="session")
def cluster_without_accounting() -> Iterator[Cluster]:
    """A cluster without slurmdbd."""
    yield from _started(False)


@dataclass
class Site:
    """A folder to work in on a cluster, and the command in it."""

    cluster: Cluster
    folder: Path
    plugins: Path
    local: Path
    """Where the session's local runs are kept: tests share their cells."""
    on_cluster: ClassVar = ("--device", "cpu", "--slurm")
    """The options that a profile follows; torch sees no GPU in a stand-in for one."""

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def environment(self) -> dict[str, str]:
        path = [str(self.plugins), os.environ.get("PYTHONPATH", "")]
        ours = {"PYTHONPATH": os.pathsep.join(filter(None, path)), "BENCH_TALLY": str(self.folder)}
        return self.cluster.environment | ours

    @property
    def here(self) -> Site:
        """A site of its own for local runs: no naps, no faults, another tally."""
        return replace(self, folder=self.local)

    def noted(self, kind: str) -> list[str]:
        """What the plugin has written down."""
        path = self.folder / kind
        return path.read_text().splitlines() if path.exists() else []

    def written(self) -> list[str]:
        """The ids of the records that jobs wrote, each as often as it was written."""
        return sorted(line.split()[0] for line in self.noted("written") if " here" not in line)

    def set(self, name: str, value: object = "") -> None:
        """Tell the plugin's methods something."""
        (self.folder / name).write_text(str(value))

    def profile(self, **values: object) -> str:
        """Write a profile; return the name to give."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        kept = [line for line in PROFILE.splitlines() if line.split(" =")[0] not in values]
        path = self.folder / "profile.toml"
        path.write_text("\n".join([*kept, *lines]) + "\n")
        return str(path)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def bench(self, *arguments: str, code: int = 0) -> str:
        """Run the command; return what it prints."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=1800)
        assert process.returncode == code, f"{arguments}\n{out}\n{err}"
        return out if code == 0 else err

    def status(self, *options: str) -> dict[str, Any]:
        return dict(json.loads(self.bench("status", "--json", *options)))

    def records(self, folder: str = "results") -> dict[str, dict[str, Any]]:
        found = [json.loads(p.read_text()) for p in (self.folder / folder).glob("records/*.json")]
        return {record["id"]: record for record in found}

    def outcomes(self, folder: str = "results") -> dict[str, tuple[Any, str]]:
        return {k: (r["metrics"], r["weights_digest"]) for k, r in self.records(folder).items()}

    def submit(self, *sweep: str, **profile: object) -> str:
        return self.bench("run", *sweep, *self.on_cluster, self.profile(**profile))

    def wait(self, seconds: float = 1200) -> None:
        """Wait until the queue is empty."""
        wait_for(self.cluster.is_idle, seconds)

    def require_same_as_local(self, *sweep: str, cells: int) -> None:
        """Require all records, each written once, and the same as those of a local run."""
        assert self.status()["cells"] == {"done": cells}, self.logs()
        assert self.written() == sorted(self.records()), "a cell was computed twice"
        self.here.bench("run", *sweep)
        theirs, ours = self.outcomes(), self.here.outcomes()
        assert len(theirs) == cells
        assert theirs == {cell: ours[cell] for cell in theirs}

    def workers(self, kind: str = "cell") -> dict[str, int]:
        """The process that holds each lease of a kind."""
        found = {}
        for path in self.results.glob(f"leases/{kind}-*.lease"):
            with contextlib.suppress(OSError, ValueError):
                found[path.stem] = int(json.loads(path.read_text())["process"])
        return found

    def node_of(self, process: int) -> str:
        """The virtual node that a process runs on."""
        told = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        return next(e for e in told if e.startswith(b"SLURMD_NODENAME=")).decode().split("=")[1]

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.results.glob("slurm/*/*.out"))


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for Python's path in which the toy plugin is installed."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copy(Path(__file__).with_name("toy.py"), folder)
    facts = folder / "toy-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[bench.methods]\ntoy = toy\n")
    return folder


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the session's local runs."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path, plugins: Path, local: Path) -> Iterator[Site]:
    """A folder of the test's own on the cluster; no job is left behind."""
    yield from _site(cluster, tmp_path, plugins, local)


@pytest.fixture
def site_without_accounting(
    cluster_without_accounting: Cluster, tmp_path: Path, plugins: Path, local: Path
) -> Iterator[Site]:
    """The same on a cluster without slurmdbd."""
    yield from _site(cluster_without_accounting, tmp_path, plugins, local)


def _site(cluster: Cluster, folder: Path, plugins: Path, local: Path) -> Iterator[Site]:
    yield Site(cluster, folder, plugins, local)
    cluster.mend()
