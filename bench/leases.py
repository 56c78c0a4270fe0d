"""Leases: claim files that keep two workers from the same cell or artefact.

A lease is a file created exclusively, with its owner inside and a heartbeat on its
modification time. It saves work and guards nothing: results are written whole and are the same
whoever computes them, so that the rare double owner costs time only.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.storage import told_as_storage_error, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator

HEARTBEAT_S = 5.0
PATIENCE_S = 60.0
"""A lease without a heartbeat for this long (on the waiter's own clock) is stale."""


_FIELDS = frozenset({"host", "namespace", "process", "started", "token"})
_DEAD = frozenset("ZXx")
"""Process states: a killed process that nobody waited for is a zombie, perhaps for ever."""


@dataclass
class Lease:
    """The right to compute one thing, held while its file beats."""

    path: Path
    token: str
    left_by: str = ""
    """The owner that died with it, as ``host:process``; empty where nobody did."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        """End the lease; another worker may take the work from now on."""
        self._stop.set()
        self._thread.join()
        if _read(self.path).get("token") == self.token:
            self.path.unlink(missing_ok=True)


class Leases:
    """The leases of one results folder, seen by one worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last_beat: dict[str, tuple[tuple[str, float], float]] = {}

    def try_take(self, name: str) -> Lease | None:
        """Take the lease of a name, or return None while another worker holds it."""
        path = self._folder / f"{name}.lease"
        lease = self._create(path)
        if lease is None:
            found = _read(path)
            if self._is_stale(name, path, found):
                lease = self._take_over(name, path, found)
        return lease

    @contextlib.contextmanager
    def taken(self, name: str) -> Iterator[Lease | None]:
        """Hold the lease of a name within the block, or give None where another holds it."""
        lease = self.try_take(name)
        try:
            yield lease
        finally:
            if lease is not None:
                lease.release()

    def owner(self, name: str) -> str:
        """Return who holds a lease, as ``host:process``; empty when nobody does."""
        return _owner(_read(self._folder / f"{name}.lease"))

    def is_held(self, name: str) -> bool:
        """Return whether a lease's owner seems to be alive, at one look.

        Here its process tells; elsewhere the heartbeat does, by this machine's clock.
        """
        path = self._folder / f"{name}.lease"
        content = _read(path)
        if content and (content["host"], content["namespace"]) == _here():
            return _is_alive(content)
        try:
            return time.time() - path.stat().st_mtime < PATIENCE_S
        except OSError:
            return False

    def holder(self, name: str) -> str:
        """Return who holds a lease, in words: which process of which run."""
        content = _read(self._folder / f"{name}.lease")
        if not content:
            return "another bench run"  # which has just given it back
        is_near = (content["host"], content["namespace"]) == _here()
        is_ours = is_near and _is_sibling(content["process"])
        run = "another process of this bench run" if is_ours else "another bench run"
        return f"{run} (process {content['process']} on {content['host']})"

    def _create(self, path: Path) -> Lease | None:
        claim = _claim()
        with told_as_storage_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                return None
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(claim, file)
            except BaseException:
                path.unlink(missing_ok=True)  # nobody shall wait for a lease without an owner
                raise
        return Lease(path, claim["token"])

    def _is_stale(self, name: str, path: Path, content: dict[str, Any]) -> bool:
        if (content.get("host"), content.get("namespace")) == _here():
            return not _is_alive(content)
        try:
            beat = (content.get("token", ""), path.stat().st_mtime)
        except OSError:
            return False
        seen, since = self._last_beat.get(name, (None, 0.0))
        if seen != beat:
            self._last_beat[name] = (beat, time.monotonic())
            return False
        return time.monotonic() - since > PATIENCE_S

    def _take_over(self, name: str, path: Path, stale: dict[str, Any]) -> Lease | None:
        """Replace a stale lease; a lease on the stale one lets a single worker do so."""
        with self.taken(f"{name}.{stale.get('token', 'empty')}") as alone:
            if alone is None or _read(path).get("token") != stale.get("token"):
                return None
            claim = _claim()
            write_text(path, json.dumps(claim))
        return Lease(path, claim["token"], _owner(stale))


def _here() -> tuple[str, str]:
    """Return where process numbers mean the same: the host, its boot and process namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        namespace = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        namespace = ""
    return socket.gethostname(), namespace


def _claim() -> dict[str, Any]:
    host, namespace = _here()
    return {
        "host": host,
        "namespace": namespace,
        "process": os.getpid(),
        "started": _process_start(os.getpid()),
        "token": uuid.uuid4().hex,
    }


def _owner(content: dict[str, Any]) -> str:
    return f"{content['host']}:{content['process']}" if content else ""


def _read(path: Path) -> dict[str, Any]:
    """Return a lease file's content; empty where there is none or it is not whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(content, dict) and content.keys() >= _FIELDS
    return dict(content) if is_whole else {}


def _is_alive(content: dict[str, Any]) -> bool:
    """Return whether the process of a lease from here still runs."""
    return _process_start(content["process"]) == str(content["started"])


def _process_start(process: int) -> str:
    """Return when a process of this host started; a recycled number has another start."""
    fields = _status(process)
    if not fields:
        return "" if Path("/proc").exists() else _without_proc(process)
    return "" if fields[0] in _DEAD else fields[19]


def _is_sibling(process: int) -> bool:
    """Return whether a process was started by the one that started this to share its work."""
    parent = multiprocessing.parent_process()
    fields = _status(process)
    return parent is not None and bool(fields) and fields[1] == str(parent.pid)


def _status(process: int) -> list[str]:
    """Return what /proc tells of a process after its name; empty where it tells nothing."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return []
    return status.rpartition(")")[2].split()


def _without_proc(process: int) -> str:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
