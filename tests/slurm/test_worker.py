"""A job's cells: computed, packed, streamed, refused."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner
from slurm_jobs import ended

from bench import allocation, execution
from bench.cells import Plan
from bench.cli import cli
from bench.datasets import Source
from bench.feeding import Feed, Stream
from bench.identity import cell_id
from bench.planfiles import identities
from bench.results import Results
from bench.storage import read_json, write_json
from reports.reading import failure_row
from slurm import codes
from slurm.codes import code_digest
from slurm.dispatch import prepare
from slurm.log import Log
from slurm.profiles import Profile
from slurm.watch import status
from slurm.worker import STALE_CODE, Work


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


def test_a_data_set_that_has_changed_since_the_sweep_was_submitted_is_not_computed_with(
    work, plan, results
):
    asked = plan(seeds=1)
    others = Plan(tuple(replace(cell, fingerprint="others") for cell in asked.cells))
    assert ended(work(others)) == 1
    failure = results.failure(others.cells[0].id)
    assert failure["type"] == "DataError"
    assert "planned for other images than digits has: others, not " in failure["message"]
    assert not list(results.records())


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


def test_a_log_tells_cells_that_wait_for_one_artefact_in_a_line_each(plan, capsys):
    first, second = plan(seeds=2).cells
    log = Log()
    for cell in (first, second, first, second):
        log.cell_started(cell)
        log.cell_postponed(cell)
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(": left for later")[0] for line in told] == [
        f"{cell.id} {cell.label}" for cell in (first, second, first, second)
    ]
    log.cell_started(first)
    log.stage("training", 0, 0)  # from now on the cell is this job's, however long an epoch takes
    assert capsys.readouterr().out == f"{first.id} {first.label}\n"
    log.cell_finished(first, {"metrics": {"accuracy": 87.654}})
    assert capsys.readouterr().out == "    done: 87.65 %\n"


def test_a_log_of_packed_cells_loses_none_of_them(plan, capsys):
    first, second = plan(seeds=2).cells
    log = Log()
    log.cell_started(first)
    log.cell_started(second)
    log.cell_postponed(first)
    log.cell_failed(second, {"type": "ValueError", "message": "no"})
    assert capsys.readouterr().out.splitlines() == [
        f"{first.id} {first.label}: left for later, another worker makes an artefact that it needs",
        f"{second.id} {second.label}",
        "    FAILED: ValueError: no",
    ]


def test_every_line_of_packed_cells_stands_below_the_name_of_its_cell(plan, capsys, monkeypatch):
    monkeypatch.setattr("slurm.log._QUIET_S", -1.0)  # every stage is told
    first, second = plan(seeds=2).cells
    names = {cell: f"{cell.id} {cell.label}" for cell in (first, second)}
    log = Log()
    for cell, step in ((first, 1), (first, 2), (second, 1), (first, 3)):
        log.about(cell)
        if step == 1:
            log.cell_started(cell)
        log.stage("training", step, 9)
    log.cell_finished(second, {"metrics": {"accuracy": 50.0}})
    log.waiting("1 cell computed by another bench run")
    log.about(first)
    log.cell_failed(first, {"type": "ValueError", "message": "no"})
    assert capsys.readouterr().out.splitlines() == [
        names[first], "    training 1/9", "    training 2/9",
        names[second], "    training 1/9",
        names[first], "    training 3/9",
        names[second], "    done: 50.00 %",
        "waiting for 1 cell computed by another bench run",
        names[first], "    FAILED: ValueError: no",
    ]  # fmt: skip
