from __future__ import annotations

import errno
import json
import os
import re
import sys
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission, JobPaths

from bench import leases
from bench.datasets import Source
from bench.errors import StorageError, UsageError
from bench.results import Results
from slurm import submissions, turns
from slurm.commands import ClusterError, NotSubmittedError
from slurm.dispatch import prepare, submit
from slurm.profiles import Profile
from slurm.retrying import lessons
from slurm.sweeps import submit_once
from slurm.watch import status

GOLDEN = Path(__file__).with_name("golden")
FULL = Profile(
    partition="long", account="lab", qos="high", constraint="a100&ib", reservation="ours",
    exclude="node[3-4]", gres="gpu:a100:2", cpus=8, memory_gb=31.5, max_minutes=300,
    array_parallelism=4, setup=("module load cuda", "source 'my env/bin/activate'"),
    scratch='/scratch/$USER/"$SLURM_JOB_ID"', offline=True, python="singularity exec i.sif python",
    use_srun=True, extra={"mail-type": "END", "exclusive": True},
)  # fmt: skip


def masked(texts: list[str], folder: Path, identifier: str) -> str:
    told = "\n=====\n".join(texts).replace(str(folder.parent), "FOLDER").replace(identifier, "ID")
    return told.replace(sys.executable, "PYTHON") + "\n"


@pytest.mark.parametrize(
    ("name", "profile", "methods"),
    [
        ("plain", Profile(), "random"),
        ("artefacts", Profile(), "graphcut"),
        ("full", FULL, "random"),
    ],
)
def test_the_texts_for_sbatch_are_the_golden_ones(tmp_path, plan, name, profile, methods):
    folder = (tmp_path / 'it\'s my; "folder"').resolve()
    prepared = prepare(plan(methods, seeds=2, budgets="10,20"), Results(folder), Source(), profile)
    told = masked(prepared.texts(), folder, prepared.submission.id)
    path = GOLDEN / f"{name}.sh"
    if os.environ.get("BENCH_UPDATE_GOLDEN"):
        path.write_text(told)
    assert told == path.read_text()
    assert not folder.exists()


def test_a_submission_is_written_down_with_the_numbers_of_its_jobs(submitted, plan, results):
    sweep = plan("graphcut", seeds=2, budgets="10,20")
    submission = submitted(sweep)
    assert submission.jobs == ["101", "102"]
    assert [array.stage for array in submission.arrays] == ["artefacts", "cells"]
    assert submission.cells == {cell.id for cell in sweep.cells}
    assert submissions.read_all(results.folder) == [submission]
    assert (results.folder / "plans" / f"{sweep.id}.json").exists()


def test_the_artefact_stage_may_be_another_class_of_resources(submitted, plan, fake_slurm):
    profile = Profile(gpus_per_node=1, artefacts=Profile(cpus=4))
    made = submitted(plan("graphcut", seeds=2, budgets="10,20"), profile).arrays
    assert [(array.stage, array.gpus, array.cpus) for array in made] == [
        ("artefacts", 0, 4), ("cells", 1, 2),
    ]  # fmt: skip
    texts = [(fake_slurm.folder / f"sent-{job}.sh").read_text() for job in ("101", "102")]
    assert ["--gpus-per-node=1" in text for text in texts] == [False, True]


def test_cells_wait_for_their_artefacts_to_end_in_any_way(submitted, plan, fake_slurm):
    submitted(plan("graphcut", seeds=2, budgets="10,20"))
    text = (fake_slurm.folder / "sent-102.sh").read_text()
    assert "#SBATCH --dependency=afterany:101" in text
    assert "dependency" not in (fake_slurm.folder / "sent-101.sh").read_text()


def test_leaked_variables_of_a_job_stay_out_and_the_configuration_stays(
    submitted, plan, fake_slurm, monkeypatch
):
    monkeypatch.setenv("SLURM_CPU_BIND", "mask_cpu:0x1")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "10")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/ours.conf")
    submitted(plan())
    seen = (fake_slurm.folder / "environment-101").read_text()
    assert "SLURM_CONF=/etc/ours.conf" in seen
    assert not re.search("SLURM_CPU_BIND|SLURM_MEM|SBATCH_", seen)
    assert os.environ["SLURM_CPU_BIND"] == "mask_cpu:0x1"


def test_logs_and_pickles_are_private_and_few(submitted, plan, results):
    submission = submitted(plan(seeds=10))
    logs = submissions.logs_of(results.folder, submission.id)
    tasks = sum(len(array.tasks) for array in submission.arrays)
    assert len(list(logs.iterdir())) == tasks + len(submission.arrays)
    for path in (logs, *logs.iterdir()):
        assert path.stat().st_mode & 0o077 == 0


def test_a_refusal_is_told_and_what_was_accepted_is_known(submitted, plan, results, fake_slurm):
    (fake_slurm.folder / "refused").write_text("101")
    with pytest.raises(ClusterError, match=r"sbatch refused array 2 of 2: .*QOS limit"):
        submitted(plan("graphcut", seeds=2, budgets="10,20"))
    (submission,) = submissions.read_all(results.folder)
    assert [array.job for array in submission.arrays] == ["101", None]
    assert len(list(submissions.logs_of(results.folder, submission.id).glob("*.pkl"))) == 2
    cells = [cell for task in submission.arrays[1].tasks for cell in task.cells]
    assert status(results.folder).counts() == {"not submitted": 4}
    assert lessons(cells, results, [submission] * 3).exhausted == frozenset()


UNREACHABLE = """\
sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host
sbatch: error: fetch_config: DNS SRV lookup failed
sbatch: fatal: Could not establish a configuration source
"""


def test_a_cluster_out_of_reach_is_one_error(submitted, plan, results, fake_slurm, capfd):
    (fake_slurm.folder / "said").write_text(UNREACHABLE)
    fake_slurm.write("sbatch", f"#!/bin/sh\ncat '{fake_slurm.folder}/said' >&2\nexit 1\n")
    with pytest.raises(ClusterError) as caught:
        submitted(plan())
    refused, then = str(caught.value).splitlines()
    assert refused == (
        "sbatch refused array 1 of 1: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host; "
        "fetch_config: DNS SRV lookup failed; Could not establish a configuration source."
    )
    assert then.startswith("Nothing was submitted; the same command tries again.")
    assert capfd.readouterr() == ("", "")
    assert submissions.read_all(results.folder) == []
    assert list((results.folder / "slurm").iterdir()) == []


def test_a_job_is_cancelled_that_slurm_took_without_an_answer(
    plan, results, fake_slurm, monkeypatch
):
    said = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    fake_slurm.write("sbatch", f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    fake_slurm.write("scancel", f"#!/bin/sh\necho \"$@\" >> '{fake_slurm.folder}/cancelled'\n")
    with pytest.raises(NotSubmittedError, match="Socket timed out"):
        submit_once(plan(), results, Source(), Profile())
    assert submissions.read_all(results.folder) == []
    (cancelled,) = (fake_slurm.folder / "cancelled").read_text().splitlines()
    assert cancelled.startswith("--name=bench-")


@pytest.mark.parametrize(
    ("owner", "name", "sent"),
    [(DelayedSubmission, "dump", []), (JobPaths, "move_temporary_file", ["101"])],
)
def test_a_full_disk_is_told_and_no_job_is_left_without_its_work(
    plan, results, fake_slurm, monkeypatch, owner, name, sent
):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    fake_slurm.write("scancel", f"#!/bin/sh\necho \"$@\" >> '{fake_slurm.folder}/cancelled'\n")
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        with pytest.raises(StorageError, match="The disk is full: free some space"):
            submit_once(plan(), results, Source(), Profile())
    (left,) = submissions.read_all(results.folder)
    assert left.jobs == []
    assert [path.name[5:8] for path in fake_slurm.folder.glob("sent-*")] == sent
    cancelled = (fake_slurm.folder / "cancelled").read_text()
    assert cancelled == f"--name={left.arrays[0].name}\n"
    assert list(submissions.logs_of(results.folder, left.id).glob("*.pkl")) == []
    assert status(results.folder).counts() == {"not submitted": 2}
    assert submit_once(plan(), results, Source(), Profile()) is not None


def test_a_dependency_of_the_user_s_is_waited_for_besides_the_artefacts(
    submitted, plan, fake_slurm
):
    extra = {"dependency": "afterok:7", "requeue": False, "exclusive": True}
    submitted(plan("graphcut", seeds=2, budgets="10,20"), Profile(extra=extra))
    texts = [(fake_slurm.folder / f"sent-{job}.sh").read_text() for job in ("101", "102")]
    assert "#SBATCH --dependency=afterok:7\n" in texts[0]
    assert "#SBATCH --dependency=afterok:7,afterany:101\n" in texts[1]
    for text in texts:
        assert "#SBATCH --exclusive\n" in text
        assert "requeue" not in text


@pytest.mark.usefixtures("fake_slurm")
@pytest.mark.parametrize("sign", ["%", "\\", "\n"])
def test_a_folder_that_slurm_would_take_apart_is_refused(tmp_path, plan, sign):
    results = Results(tmp_path / f"a{sign}b")
    with pytest.raises(UsageError, match="Name another folder"):
        prepare(plan(), results, Source(), Profile())


def test_without_sbatch_two_lines_say_so(plan, results, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no sbatch on this machine"):
        submit_once(plan(), results, Source(), Profile())


def test_cells_with_a_job_are_not_submitted_again(plan, results, fake_slurm):
    first = submit_once(plan(seeds=4), results, Source(), Profile())
    name = first.submission.arrays[0].name
    lines = [f"{200 + i}|101|{i}|PENDING||Priority|0:00|N/A|{name}" for i in range(4)]
    fake_slurm.says("squeue", "\n".join(lines[:3]))
    again = submit_once(plan(seeds=4), results, Source(), Profile())
    assert again.submission.cells == set(first.submission.arrays[0].tasks[3].cells)
    fake_slurm.says("squeue", "\n".join(lines))
    assert submit_once(plan(seeds=4), results, Source(), Profile()) is None
    fake_slurm.fails("squeue", "squeue: error: Unable to contact slurm controller")
    with pytest.raises(ClusterError, match=r"^squeue: error: Unable to contact"):
        submit_once(plan(seeds=4), results, Source(), Profile())


def test_two_processes_do_not_submit_at_once(plan, results, fake_slurm, monkeypatch):
    monkeypatch.setattr(turns, "PATIENT_S", 0.1)
    other = Results(results.folder)
    with (
        other.leases.taken("submitting"),
        pytest.raises(UsageError, match="is submitting into"),
    ):
        submit_once(plan(), results, Source(), Profile())


def test_a_launcher_that_died_on_another_machine_is_no_hindrance(
    plan, results, fake_slurm, monkeypatch
):
    monkeypatch.setattr(leases, "PATIENCE_S", 0.2)
    lease = results.folder / "leases" / "submitting.lease"
    lease.parent.mkdir(parents=True)
    claim = {"host": "elsewhere", "namespace": "", "process": 1, "started": "1", "token": "t"}
    lease.write_text(json.dumps(claim))
    assert submit_once(plan(), results, Source(), Profile()) is not None


def test_a_colleague_can_read_what_was_submitted(submitted, plan, results):
    submission = submitted(plan())
    path = submissions.path_of(results.folder, submission.id)
    plain = results.folder / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_arrays_keep_to_the_cluster_s_size(submitted, plan, fake_slurm):
    fake_slurm.says("scontrol", "MaxArraySize            = 3\n")
    submission = submitted(plan(seeds=7))
    assert [len(array.tasks) for array in submission.arrays] == [3, 3, 1]


def test_failures_before_are_remembered(plan, results, fake_slurm):
    sweep = plan(seeds=2)
    results.write_failure(sweep.cells[0], {"phase": "training", "type": "X", "message": "m"})
    prepared = prepare(sweep, results, Source(), Profile())
    assert prepared.submission.attempts == {sweep.cells[0].id: 1}
    submit(prepared, results)
