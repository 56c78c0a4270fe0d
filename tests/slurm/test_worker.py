from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from bench import allocation, execution
from bench.cli import cli
from bench.contract import METHODS, CompressedSet, Method, MethodInfo
from bench.datasets import Source
from bench.feeding import Feed, Stream
from bench.identity import cell_id
from bench.planfiles import identities
from bench.results import Results
from bench.storage import read_json, write_json
from bench.streaming import StreamedBatches
from reports.reading import failure_row
from slurm import codes, commands, worker
from slurm.codes import code_digest
from slurm.dispatch import prepare
from slurm.profiles import Profile
from slurm.watch import status
from slurm.worker import STALE_CODE, TIME_OUT, Work

INFO = MethodInfo(title="t", paper="none", year=2026, kind="selection", code="here")


@pytest.fixture
def register(monkeypatch):
    """Return a function that registers a method for one test."""

    def enter(compress, artefacts=lambda self, train, ctx: ()):
        METHODS.names()
        monkeypatch.setattr(METHODS, "_classes", dict(METHODS._classes))

        @METHODS.register("made")
        @dataclass(frozen=True)
        class Made(Method):
            info: ClassVar[MethodInfo] = INFO

            def compress(self, train, budget, ctx):
                return compress(self, train, budget, ctx)

        Made.artefacts = artefacts
        return "made"

    return enter


@pytest.fixture
def work(results):
    """Return a function that makes the work of a plan's cells."""

    def make(plan, **values):
        results.save_plan(plan)
        cells = tuple(cell.id for cell in plan.cells)
        code = code_digest({type(cell.method) for cell in plan.cells})
        usual = {"stage": "cells", "code": code, "minutes": 10, "device": "cpu"}
        folder = str(results.folder)
        return Work(folder, plan.id, cells, "sub", **(usual | values))

    return make


@pytest.fixture(autouse=True)
def _outside_of_a_job():
    """Take back what a job tells the processes that it starts."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def ended(work) -> int:
    """The exit code of a job."""
    with pytest.raises(SystemExit) as stop:
        pickle.loads(pickle.dumps(work))()
    return stop.value.code


def test_a_job_s_records_equal_those_of_a_local_run(work, plan, results, tmp_path):
    sweep = plan(seeds=2)
    assert ended(work(sweep)) == 0
    local = Results(tmp_path / "local")
    execution.execute(sweep, local, Source(), "cpu")
    for cell in sweep.cells:
        there, here = results.record(cell.id), local.record(cell.id)
        assert there["weights_digest"] == here["weights_digest"]
        assert there["metrics"] == here["metrics"]


def test_images_stream_in_a_job_as_was_asked_for(work, plan, results):
    sweep = plan(seeds=1)
    source = Source(feed=Feed(Stream.ALWAYS, 0))
    asked = prepare(sweep, results, source, Profile()).submission
    assert asked.source == source
    assert ended(work(sweep, stream=asked.stream, workers=asked.workers)) == 0
    (record,) = results.records()
    assert record["engine"]["images"] == "streamed"


def test_a_job_computes_its_own_cells_alone(work, plan, results):
    sweep = plan(seeds=3)
    job = work(sweep)
    one = Work(**{**vars(job), "cells": job.cells[1:2]})
    assert ended(one) == 0
    assert [record["id"] for record in results.records()] == [job.cells[1]]


def test_records_name_the_job_that_wrote_them(work, plan, results, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    monkeypatch.setenv("SLURMD_NODENAME", "n5")
    sweep = plan(seeds=1)
    ended(work(sweep))
    record = results.record(sweep.cells[0].id)
    assert record["provenance"]["slurm"] == {"SLURM_ARRAY_JOB_ID": "77", "SLURMD_NODENAME": "n5"}


def test_records_tell_what_they_were_given_of_their_job(work, plan, results, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    monkeypatch.setenv(allocation.BEGAN, str(time.time() - 100))
    sweep = plan(seeds=2)
    ended(work(sweep, gpus=2))
    first, second = sorted(results.records(), key=lambda record: -record["allocation"]["used_s"])
    for record in (first, second):
        given, cost = record["allocation"], record["cost"]
        assert (given["device"], given["gpus"], given["asked_s"]) == ("gpu", 2, 2 * 600 / 2)
        made = sum(a["seconds"] for a in cost["artefacts"].values())
        assert given["used_s"] == cost["training_s"] + cost["testing_s"] + made
        assert given["used_s"] < given["allocated_s"]
    given = [record["allocation"]["allocated_s"] for record in (first, second)]
    assert max(given) > 200 > min(given)


def test_cells_that_are_packed_share_the_job(work, plan, results, tmp_path):
    sweep = plan(seeds=4)
    assert ended(work(sweep, gpus=1, pack=2)) == 0
    records = list(results.records())
    assert {record["engine"]["packed"] for record in records} == {2}
    given = sum(record["allocation"]["allocated_s"] for record in records)
    began = float(os.environ[allocation.BEGAN])
    assert 0 < given <= time.time() - began
    assert all(r["allocation"]["used_s"] < r["allocation"]["allocated_s"] for r in records)


def test_other_code_is_refused_and_nothing_computed(work, plan, results):
    sweep = plan(seeds=2)
    assert ended(work(sweep, code="other")) == 1
    assert {failure["type"] for failure in results.failures()} == {STALE_CODE}
    assert {failure["specs"]["model"] for failure in results.failures()} == {"resnet8[width=4]"}
    assert list(results.records()) == []


def test_code_that_no_longer_knows_the_cells_is_told_for_each_of_them(work, plan, results):
    sweep = plan(seeds=2)
    job = work(sweep)
    path = results.folder / "plans" / f"{sweep.id}.json"
    content = read_json(path)
    content["parts"]["model"][0]["parameters"]["height"] = 3
    for row, identity in zip(content["cells"], identities(content).values(), strict=True):
        row[0] = cell_id(identity)
    write_json(path, content)
    gone = replace(job, cells=tuple(identities(content)))
    assert ended(replace(gone, code="other")) == 1
    failures = list(results.failures())
    assert [failure["type"] for failure in failures] == [STALE_CODE] * 2
    (row,) = {tuple(failure_row(one)[part] for part in ("dataset", "method", "model", "protocol"))
              for one in failures}  # fmt: skip
    assert row == ("digits", "random", "resnet8[width=4,height=3]", "smoke[epochs=1]")
    assert all(failure["method"] == sweep.cells[0].method.facts() for failure in failures)
    again = replace(gone, attempts={failure["id"]: 1 for failure in failures})
    assert ended(again) == 1
    assert {failure["type"] for failure in results.failures()} == {"UsageError"}


@pytest.mark.parametrize("content", ['{"schema": 2', None])
def test_a_plan_that_cannot_be_read_is_told_in_one_line(work, plan, results, content, capsys):
    sweep = plan(seeds=1)
    job = work(sweep)
    path = results.folder / "plans" / f"{sweep.id}.json"
    if content is None:
        write_json(path, read_json(path) | {"schema": 99})
    else:
        path.write_text(content)
    assert ended(job) == 1
    (told,) = capsys.readouterr().out.splitlines()
    assert told.startswith(f"error: {path} is {'damaged' if content else 'of a newer bench'}")
    assert told.split(": ", 1)[1] in status(results.folder).unread
    words = CliRunner().invoke(cli, ["status", "--results", str(results.folder)]).output
    assert f"A plan is left out: {path} is " in words


def test_a_damaged_plan_is_written_anew_when_it_is_submitted_again(work, plan, results):
    sweep = plan(seeds=1)
    work(sweep)
    (results.folder / "plans" / f"{sweep.id}.json").write_text("{")
    assert ended(work(sweep)) == 0


def test_the_code_that_submits_and_watches_is_part_of_what_was_submitted(monkeypatch):
    before = code_digest(())
    monkeypatch.setattr(codes, "rooms_digest", lambda *rooms: f"another {rooms}")
    assert code_digest(()) != before


def test_a_data_set_that_is_missing_on_the_node_is_told_for_each_cell(work, plan, results):
    sweep = plan(seeds=2)
    assert ended(work(sweep, device="cuda:99")) == 1
    failures = list(results.failures())
    assert [failure["type"] for failure in failures] == ["DeviceError"] * 2
    assert {failure["phase"] for failure in failures} == {"start"}


def test_a_job_with_gpus_that_torch_does_not_see_computes_nothing(work, plan, results, monkeypatch):
    monkeypatch.setattr(execution, "resolve_device", lambda asked: "cpu")
    assert ended(work(plan(seeds=1), gpus=1, device="auto")) == 1
    (failure,) = results.failures()
    assert (failure["type"], failure["phase"]) == ("DeviceError", "start")
    assert "torch sees none" in failure["message"]
    assert ended(work(plan(seeds=1), gpus=0, device="auto", attempts={failure["id"]: 1})) == 0


def test_an_artefact_that_fails_blocks_its_cells_until_they_are_submitted_anew(
    work, plan, results, register
):
    asked = []

    def compress(self, train, budget, ctx):
        asked.append(budget)
        if len(asked) <= 1:
            raise ValueError("broken")
        return CompressedSet(np.arange(budget.images(len(train))))

    sweep = plan(register(compress), seeds=1, widths=(4, 2))
    assert ended(work(sweep, stage="artefacts")) == 0
    told = [(failure["phase"], failure["type"]) for failure in results.failures()]
    assert told == [("blocked", "ValueError")] * 2
    assert ended(work(sweep)) == 1
    assert len(asked) == 1, "a blocked cell was tried"
    assert ended(work(sweep, attempts={cell.id: 1 for cell in sweep.cells})) == 0
    assert list(results.failures()) == []


def test_what_the_artefact_stage_made_is_not_made_again(work, plan, results, register):
    made = []

    def compress(self, train, budget, ctx):
        made.append(budget)
        return CompressedSet(np.arange(budget.images(len(train))))

    sweep = plan(register(compress), seeds=1, budgets="10,20", widths=(4, 2))
    ended(work(sweep, stage="artefacts"))
    assert len(made) == 2
    assert list(results.records()) == []
    assert ended(work(sweep)) == 0
    assert len(made) == 2


class TestSharedArtefacts:
    """A method with two artefacts: one that all seeds share, and one of each seed."""

    @pytest.fixture
    def made(self):
        return []

    @pytest.fixture
    def sweep(self, plan, register, made):
        def artefacts(self, train, ctx):
            def make(name):
                made.append(name)
                if "broken" in made:
                    raise ValueError(name)
                return {"a": np.zeros(1)}

            common = ctx.artefact("common", lambda: make("common"), seeded=False)
            seed = f"seed{ctx.selection_seed}"
            return [ctx.artefact("own", lambda: make(seed), inputs=[common])]

        def compress(self, train, budget, ctx):
            made.append("set")
            return CompressedSet(np.arange(budget.images(len(train))))

        return plan(register(compress, artefacts), seeds=2, budgets="10,20")

    def test_each_stage_makes_what_is_shared_and_leaves_the_sets_to_the_cells(
        self, work, sweep, made
    ):
        assert ended(work(sweep, stage="common")) == 0
        assert made == ["common"]
        assert ended(work(sweep, stage="artefacts")) == 0
        assert made == ["common", "seed0", "seed1"]
        assert ended(work(sweep)) == 0
        assert sorted(made) == ["common", "seed0", "seed1"] + ["set"] * 4

    def test_they_are_made_from_the_images_in_the_order_of_their_keys(
        self, work, plan, register, monkeypatch
    ):
        seen = []

        def artefacts(self, train, ctx):
            return [
                ctx.artefact("own", lambda: seen.append(list(train.keys)) or {"a": np.zeros(1)})
            ]

        def compress(self, train, budget, ctx):
            seen.append(list(train.keys))
            return CompressedSet(np.arange(budget.images(len(train))))

        sweep = plan(register(compress, artefacts), seeds=1, budgets="10,20")
        kind = type(sweep.cells[0].dataset)
        load = kind.load

        def turned(self, source):
            splits = load(self, source)
            return replace(splits, train=splits.train.subset(np.arange(len(splits.train))[::-1]))

        monkeypatch.setattr(kind, "load", turned)
        ended(work(sweep, stage="artefacts"))
        ended(work(sweep))
        assert len(seen) == 3
        assert all(keys == sorted(keys) for keys in seen)

    def test_one_that_fails_is_tried_once_and_blocks_all_that_want_it(
        self, work, sweep, made, results
    ):
        made.append("broken")
        assert ended(work(sweep, stage="common")) == 0
        assert made == ["broken", "common"]
        failures = list(results.failures())
        assert len(failures) == len(sweep.cells) == 4
        assert {(f["phase"], f["message"]) for f in failures} == {("blocked", "common")}

    def test_the_forecast_asks_for_the_same_stages(self, sweep, results):
        made = prepare(sweep, results, Source(), Profile()).arrays
        told = [(a.stage, len(a.tasks), a.waits) for a in made]
        assert told == [("common", 1, False), ("artefacts", 2, True), ("cells", 4, True)]


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
