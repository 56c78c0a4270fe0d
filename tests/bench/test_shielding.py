"""Shielding: signals for this process alone, and at a moment when nothing is half started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bench.shielding import END, WARNING, shielded

BLOCKED = "import signal; print(*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))"


class Heard(BaseException):
    pass


@pytest.fixture(autouse=True)
def handled():
    """Answer both signals with an exception."""

    def stop(number, frame):
        raise Heard(number)

    before = {one: signal.signal(one, stop) for one in (WARNING, END)}
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.fixture
def _another_thread():
    """Have a thread to which the system gives signals that the main thread blocks."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("_another_thread")
@pytest.mark.parametrize("number", [WARNING, END])
def test_a_signal_is_heard_at_the_end_of_the_block_whatever_threads_there_are(number):
    passed = []

    def told_within():
        with shielded():
            os.kill(os.getpid(), number)
            time.sleep(0.02)  # the other thread has heard it by then
            passed.append("the block is worked through")

    with pytest.raises(Heard):
        told_within()
    assert passed
    with pytest.raises(Heard):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize(("deaf_to", "blocked"), [((), {WARNING}), ((END,), {WARNING, END})])
def test_what_is_started_hears_nothing_of_it(deaf_to, blocked):
    with shielded(*deaf_to):
        told = subprocess.run(
            [sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=True
        )
    assert {int(one) for one in told.stdout.split()} == {int(one) for one in blocked}
