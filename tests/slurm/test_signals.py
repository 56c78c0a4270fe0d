"""What a job does when it is warned, and when it is ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from slurm_jobs import ended

from bench import allocation
from bench.contract import CompressedSet
from bench.storage import write_json
from bench.streaming import StreamedBatches
from slurm import commands, worker
from slurm.worker import TIME_OUT


def test_a_task_of_an_array_asks_for_itself_alone(fake_slurm, monkeypatch):
    fake_slurm.write("scontrol", f"#!/bin/sh\necho $* > '{fake_slurm.folder}/asked'\n")
    for name, value in (("JOB_ID", "7"), ("ARRAY_JOB_ID", "7"), ("ARRAY_TASK_ID", "3")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert commands.requeue() == ""
    assert (fake_slurm.folder / "asked").read_text() == "requeue 7_3\n"


NEAR_THE_LIMIT = 580
"""Seconds after which a job of ten minutes has been warned of its end."""


class TestSignals:
    @pytest.fixture(autouse=True)
    def began(self, monkeypatch):
        """Have the job begin so long ago that a warning is of its time limit."""
        monkeypatch.setenv(allocation.BEGAN, str(time.time() - NEAR_THE_LIMIT))

    @pytest.fixture(autouse=True)
    def _handlers(self):
        """Take back what a job that is stopped does with signals until it ends."""
        before = {one: signal.getsignal(one) for one in (signal.SIGUSR2, signal.SIGTERM)}
        yield
        for one, handler in before.items():
            signal.signal(one, handler)

    def stopped_by(self, number, work, plan, register, results, first=()):
        def compress(self, train, budget, ctx):
            if ctx.selection_seed not in first:
                os.kill(os.getpid(), number)
            return CompressedSet(np.arange(budget.images(len(train))))

        sweep = plan(register(compress), seeds=2)
        assert ended(work(sweep)) == 1
        assert list((results.folder / "leases").glob("cell-*")) == []
        return sweep

    @pytest.fixture(autouse=True)
    def requeued(self, monkeypatch):
        asked = []
        monkeypatch.setattr(commands, "requeue", lambda: asked.append(1) or "")
        return asked

    def test_the_end_of_a_job_leaves_its_cells_as_they_are(
        self, work, plan, register, results, requeued
    ):
        self.stopped_by(signal.SIGTERM, work, plan, register, results)
        assert list(results.failures()) == []
        assert requeued == []

    @pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
    def test_a_signal_to_all_processes_of_a_job_is_no_failure_of_a_cell(
        self, number, work, plan, results, monkeypatch
    ):
        job = work(plan(seeds=1), stream="always", workers=1)
        at = StreamedBatches.at

        def all_are_told(batches, step):
            parts = at(batches, step)
            if step == 2:  # workers first: they are not to end before this process knows
                for one in multiprocessing.active_children():
                    subprocess.run(["kill", f"-{int(number)}", str(one.pid)], check=True)
                time.sleep(0.3)
                os.kill(os.getpid(), number)
            return parts

        monkeypatch.setattr(StreamedBatches, "at", all_are_told)
        assert ended(job) == 1
        assert list(results.failures()) == []
        assert multiprocessing.active_children() == []

    def test_an_error_on_the_way_out_is_no_failure_of_the_cell(self, work, plan, register, results):
        def compress(self, train, budget, ctx):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                raise ValueError("what was interrupted cannot be closed")

        assert ended(work(plan(register(compress), seeds=1))) == 1
        assert list(results.failures()) == []

    def test_the_end_of_a_job_that_heard_no_warning_is_told_as_too_little_time(
        self, work, plan, register, results, requeued, monkeypatch
    ):
        monkeypatch.setenv(allocation.BEGAN, str(time.time() - 600))
        self.stopped_by(signal.SIGTERM, work, plan, register, results)
        assert [failure["type"] for failure in results.failures()] == [TIME_OUT] * 2
        assert requeued == []

    def test_a_warning_after_progress_has_the_job_run_again(
        self, work, plan, register, results, requeued
    ):
        self.stopped_by(signal.SIGUSR2, work, plan, register, results, first=[0])
        assert len(list(results.records())) == 1
        assert list(results.failures()) == []
        assert requeued == [1]

    def test_a_warning_after_a_limit_that_was_raised_has_the_job_run_again(
        self, work, plan, register, results, requeued, monkeypatch
    ):
        monkeypatch.setenv(allocation.BEGAN, str(time.time() - 900))
        self.stopped_by(signal.SIGUSR2, work, plan, register, results, first=[0])
        assert list(results.failures()) == []
        assert requeued == [1]

    def test_a_warning_before_any_progress_is_told_as_too_little_time(
        self, work, plan, register, results, requeued
    ):
        self.stopped_by(signal.SIGUSR2, work, plan, register, results)
        assert [failure["type"] for failure in results.failures()] == [TIME_OUT] * 2
        assert requeued == []

    def test_an_early_warning_is_of_a_preemption_and_no_lack_of_time(
        self, work, plan, register, results, requeued, monkeypatch
    ):
        monkeypatch.setenv(allocation.BEGAN, str(time.time()))
        self.stopped_by(signal.SIGUSR2, work, plan, register, results)
        assert list(results.failures()) == []
        assert requeued == [1]

    @pytest.fixture
    def warned(self, register):
        """Return a method whose first set is interrupted by a warning, twice, and what it did."""
        done = []

        def compress(self, train, budget, ctx):
            for _ in range(0 if done else 2):
                os.kill(os.getpid(), signal.SIGUSR2)
                done.append("warned")
            done.append("made")
            return CompressedSet(np.arange(budget.images(len(train))))

        return register(compress), done

    def test_a_preempted_job_that_cannot_be_requeued_is_not_even_interrupted(
        self, work, plan, warned, results, monkeypatch, capfd
    ):
        method, done = warned
        monkeypatch.setenv(allocation.BEGAN, str(time.time()))
        monkeypatch.setattr(commands, "requeue", lambda: "there is no scontrol on this node")
        assert ended(work(plan(method, seeds=2))) == 0
        assert done == ["warned", "warned", "made", "made"]
        assert len(list(results.records())) == 2
        assert capfd.readouterr().out.count("It goes on until Slurm ends it") == 2

    def test_a_job_without_progress_is_preempted_a_few_times_and_then_goes_on(
        self, work, plan, warned, requeued, monkeypatch
    ):
        method, done = warned
        monkeypatch.setenv(allocation.BEGAN, str(time.time()))
        monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
        assert ended(work(plan(method, seeds=1))) == 0
        assert (done, requeued) == (["warned", "warned", "made"], [])

    def test_the_end_of_a_job_s_time_is_the_one_that_slurm_tells(
        self, work, plan, register, results, requeued, monkeypatch
    ):
        monkeypatch.setenv(allocation.BEGAN, str(time.time()))  # the node took long to boot
        monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time() + 60)))
        self.stopped_by(signal.SIGUSR2, work, plan, register, results)
        assert [failure["type"] for failure in results.failures()] == [TIME_OUT] * 2
        assert requeued == []

    def test_what_other_jobs_save_is_no_progress_of_this_one(
        self, work, plan, register, results, requeued
    ):
        def compress(self, train, budget, ctx):
            results.artefacts.save("of-another", {"a": np.zeros(1)}, {"id": "of-another"})
            write_json(results.folder / "checkpoints" / "of-another" / "newest.json", {"a": 1})
            os.kill(os.getpid(), signal.SIGUSR2)

        assert ended(work(plan(register(compress), seeds=1))) == 1
        (failure,) = results.failures()
        assert "saved nothing" in failure["message"]
        assert requeued == []

    def test_a_limit_of_the_artefacts_job_blocks_the_cells(
        self, work, plan, register, results, requeued
    ):
        def compress(self, train, budget, ctx):
            os.kill(os.getpid(), signal.SIGUSR2)

        sweep = plan(register(compress), seeds=1, widths=(4, 2))
        assert ended(work(sweep, stage="artefacts")) == 1
        told = {(failure["phase"], failure["type"]) for failure in results.failures()}
        assert told == {("blocked", TIME_OUT)}

    def test_where_no_requeue_is_possible_the_cells_are_left_to_a_retry(
        self, work, plan, register, results, monkeypatch
    ):
        monkeypatch.setattr(commands, "requeue", lambda: "there is no scontrol on this node")
        self.stopped_by(signal.SIGUSR2, work, plan, register, results, first=[0])
        (failure,) = results.failures()
        assert failure["type"] == TIME_OUT
        assert "no scontrol" in failure["message"]

    def test_restarts_have_a_limit(self, work, plan, register, results, requeued, monkeypatch):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(worker._MOST_RESTARTS))
        self.stopped_by(signal.SIGUSR2, work, plan, register, results, first=[0])
        assert requeued == []
        assert "restarted" in next(results.failures())["message"]
