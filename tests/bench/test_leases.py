"""Leases: of several workers, one does the work; a dead one's work is taken over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from bench import leases as module
from bench.errors import StorageError
from bench.leases import Leases

HOLD = """
import pathlib, sys, time
from bench.leases import Leases
lease = Leases(pathlib.Path(sys.argv[1])).try_take("cell")
print("taken" if lease else "refused", flush=True)
sys.stdin.read()
if lease and sys.argv[2:] == ["release"]:
    lease.release()
"""


@pytest.fixture
def worker(tmp_path):
    """Return a function that starts a process which takes the lease ``cell`` and holds it."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def impatient(monkeypatch):
    """Let a lease count as stale after 30 ms without a heartbeat."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.03)


def answer(process):
    return process.stdout.readline().strip()


def write_lease(folder, **changes):
    content = {"host": "another-host", "process": 1, "started": "1", "token": "t"}
    content["namespace"] = module._here()[1]
    path = folder / "cell.lease"
    path.write_text(json.dumps(content | changes))
    return path


# one at a time


def test_a_lease_is_held_by_one_and_free_again_after_its_release(tmp_path):
    first, second = Leases(tmp_path), Leases(tmp_path)
    lease = first.try_take("cell")
    assert lease is not None
    assert second.try_take("cell") is None
    assert first.try_take("cell") is None
    assert second.owner("cell") == f"{socket.gethostname()}:{os.getpid()}"
    lease.release()
    assert second.owner("cell") == ""
    assert list(tmp_path.iterdir()) == []
    with second.taken("cell") as taken:
        assert taken is not None


def test_leases_of_different_names_do_not_meet(tmp_path):
    leases = Leases(tmp_path / "not" / "there" / "yet")
    with leases.taken("one") as one, leases.taken("two") as two:
        assert one is not None
        assert two is not None


def test_a_block_that_fails_gives_its_lease_back(tmp_path):
    leases = Leases(tmp_path)
    with pytest.raises(RuntimeError), leases.taken("cell"):
        raise RuntimeError
    with leases.taken("cell") as lease:
        assert lease is not None


def test_of_two_processes_one_gets_the_lease(tmp_path, worker):
    processes = [worker("release"), worker("release")]
    assert sorted(map(answer, processes)) == ["refused", "taken"]
    for process in processes:
        process.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_of_many_threads_one_gets_the_lease(tmp_path):
    barrier, taken = threading.Barrier(8), []

    def contend():
        leases = Leases(tmp_path)
        barrier.wait()
        lease = leases.try_take("cell")
        if lease is not None:
            taken.append(lease)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    taken[0].release()


# a worker that died on this host


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path, worker):
    process = worker()
    assert answer(process) == "taken"
    leases = Leases(tmp_path)
    assert leases.try_take("cell") is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    with leases.taken("cell") as lease:
        assert lease is not None


def test_a_killed_process_that_nobody_has_waited_for_is_dead_too(tmp_path, worker):
    """In a container without an init process, zombies stay for ever."""
    process = worker()
    assert answer(process) == "taken"
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and not yet reaped
    assert not Leases(tmp_path).is_held("cell")
    with Leases(tmp_path).taken("cell") as lease:
        assert lease is not None


def test_a_stopped_process_keeps_its_lease(tmp_path, worker):
    process = worker()
    assert answer(process) == "taken"
    process.send_signal(signal.SIGSTOP)
    assert Leases(tmp_path).is_held("cell")
    assert Leases(tmp_path).try_take("cell") is None


def test_a_recycled_process_number_is_another_process(tmp_path):
    write_lease(tmp_path, host=socket.gethostname(), process=os.getpid(), started="1")
    assert not Leases(tmp_path).is_held("cell")
    with Leases(tmp_path).taken("cell") as lease:
        assert lease is not None


def test_of_many_that_find_a_dead_workers_lease_one_gets_it(tmp_path):
    for attempt in range(10):
        write_lease(tmp_path, host=socket.gethostname(), token=f"{attempt}")
        barrier, taken = threading.Barrier(6), []

        def contend(barrier=barrier, taken=taken):
            leases = Leases(tmp_path)
            barrier.wait()
            lease = leases.try_take("cell")
            if lease is not None:
                taken.append(lease)

        threads = [threading.Thread(target=contend) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == 1
        taken[0].release()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_dead_workers_lease_that_two_look_at_goes_to_one(tmp_path, monkeypatch, moment):
    write_lease(tmp_path, host=socket.gethostname())
    gethostname, taken, calls = socket.gethostname, [], []

    def interrupted():
        """Let the other worker try in the middle of the first one's attempt."""
        calls.append(1)
        if len(calls) == moment:
            taken.append(Leases(tmp_path).try_take("cell"))
        return gethostname()

    monkeypatch.setattr(socket, "gethostname", interrupted)
    taken.append(Leases(tmp_path).try_take("cell"))
    assert len(taken) == 2
    (lease,) = [one for one in taken if one is not None]
    lease.release()
    assert list(tmp_path.iterdir()) == []


def test_while_one_takes_over_nobody_else_does(tmp_path, monkeypatch):
    write_lease(tmp_path, host=socket.gethostname())
    replace, taken = os.replace, []

    def interrupted(*paths):
        monkeypatch.undo()
        taken.append(Leases(tmp_path).try_take("cell"))
        replace(*paths)

    monkeypatch.setattr(os, "replace", interrupted)
    with Leases(tmp_path).taken("cell") as lease:
        assert lease is not None
        assert taken == [None]


def test_a_worker_that_dies_while_it_takes_over_is_taken_over_from(tmp_path):
    write_lease(tmp_path, host=socket.gethostname())
    code = (
        "import os, pathlib, sys\n"
        "from bench.leases import Leases\n"
        "os.replace = lambda *paths: os.kill(os.getpid(), 9)\n"
        "Leases(pathlib.Path(sys.argv[1])).try_take('cell')\n"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60)
    assert died.returncode == -signal.SIGKILL
    with Leases(tmp_path).taken("cell") as lease:
        assert lease is not None
    assert not list(tmp_path.glob("*.lease"))


# a worker on another host


def test_another_hosts_lease_is_taken_only_after_a_long_silence(tmp_path, impatient):
    write_lease(tmp_path)
    leases = Leases(tmp_path)
    assert leases.try_take("cell") is None
    assert leases.owner("cell") == "another-host:1"
    time.sleep(0.05)
    with leases.taken("cell") as lease:
        assert lease is not None


def test_another_hosts_lease_is_left_alone_however_often_it_is_looked_at(tmp_path):
    write_lease(tmp_path)
    leases = Leases(tmp_path)
    assert [leases.try_take("cell") for _ in range(5)] == [None] * 5


def test_another_hosts_lease_that_beats_is_never_taken(tmp_path, impatient):
    path = write_lease(tmp_path)
    leases = Leases(tmp_path)
    for beat in range(4):
        os.utime(path, (beat, beat))  # its host's clock may be anywhere
        assert leases.try_take("cell") is None
        time.sleep(0.05)


def test_silence_is_counted_from_when_a_worker_looked_first(tmp_path, impatient):
    path = write_lease(tmp_path)
    os.utime(path, (0, 0))  # an old time says nothing: clocks differ
    assert Leases(tmp_path).try_take("cell") is None


def test_a_lease_from_another_process_namespace_is_not_judged_by_its_process_number(tmp_path):
    write_lease(tmp_path, host=socket.gethostname(), namespace="pid:[1]", process=2**22 - 1)
    assert Leases(tmp_path).try_take("cell") is None


def test_a_lease_that_changes_hands_is_counted_anew(tmp_path, impatient):
    path = write_lease(tmp_path)
    leases = Leases(tmp_path)
    leases.try_take("cell")
    time.sleep(0.05)
    beat = path.stat()
    write_lease(tmp_path, token="another")
    os.utime(path, ns=(beat.st_atime_ns, beat.st_mtime_ns))
    assert leases.try_take("cell") is None


@pytest.mark.parametrize(
    "content", ["", '{"host": "na', "\x00\x00", "[1]", "5", '{"host": "here"}']
)
def test_a_lease_file_that_a_crash_left_half_written_becomes_stale_too(
    tmp_path, impatient, content, monkeypatch
):
    monkeypatch.setattr(socket, "gethostname", lambda: "here")
    (tmp_path / "cell.lease").write_text(content)
    leases = Leases(tmp_path)
    assert leases.owner("cell") == ""
    leases.try_take("cell")
    time.sleep(0.05)
    with leases.taken("cell") as lease:
        assert lease is not None


def test_a_held_lease_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.01)
    with Leases(tmp_path).taken("cell"):
        path = tmp_path / "cell.lease"
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert path.stat().st_mtime > 0


# giving back


def test_a_release_removes_only_its_own_lease(tmp_path):
    lease = Leases(tmp_path).try_take("cell")
    path = write_lease(tmp_path, token="somebody else's")
    lease.release()
    assert json.loads(path.read_text())["token"] == "somebody else's"


def test_a_release_after_the_folder_was_removed_is_no_error(tmp_path):
    lease = Leases(tmp_path / "leases").try_take("cell")
    (tmp_path / "leases" / "cell.lease").unlink()
    (tmp_path / "leases").rmdir()
    lease.release()


# what the operating system refuses


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*cell\.lease"):
        Leases(tmp_path / "file" / "leases").try_take("cell")


def test_a_full_disk_is_told_and_leaves_no_empty_lease_that_others_would_wait_for(tmp_path):
    code = (
        "import pathlib, resource, sys\n"
        "from bench.errors import StorageError\n"
        "from bench.leases import Leases\n"
        "leases = Leases(pathlib.Path(sys.argv[1]))\n"
        "no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, no_limit[1]))\n"
        "try:\n"
        "    leases.try_take('cell')\n"
        "except StorageError as error:\n"
        "    sys.stdout = None\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)\n"
        "sys.exit(0 if sys.stdout is None and leases.try_take('cell') else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60).returncode == 0
