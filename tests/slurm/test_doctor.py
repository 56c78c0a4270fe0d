from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bench import calibration
from bench.calibration import Calibration
from bench.cli import cli, doctor
from slurm.checks import check
from slurm.profiles import Profile

PARTITIONS = (
    "PartitionName=long Default=YES MaxTime=1-00:00:00 State=UP\\n"
    "PartitionName=old Default=NO MaxTime=UNLIMITED State=DOWN MaxMemPerNode=10240\\n"
)
NODES = "n1|16|64000|gpu:a100:4(S:0-1)|idle|ib,a100\nn2|8|32000|(null)|drained*|ib\n"


@pytest.fixture
def cluster(fake_slurm):
    fake_slurm.write(
        "scontrol",
        '#!/bin/sh\ncase "$2" in\n'
        f"partition) printf '{PARTITIONS}';;\n"
        "config) echo 'MaxArraySize = 100';;\n"
        "hostnames) echo \"$3\" | sed 's/n\\[1-2\\]/n1,n2/' | tr , '\\n';;\n"
        'reservation) [ "$3" = ours ] || { echo "not found" >&2; exit 1; };;\nesac\n',
    )
    fake_slurm.says("sinfo", NODES)
    fake_slurm.says("sacctmgr", "lab|normal,high\n")
    return fake_slurm


def wrong(profile):
    return [one.name for one in check(profile) if not one.is_fine]


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("profile", "problems"),
    [
        (Profile(), []),
        (
            Profile(
                gpus_per_node=4,
                gpus_per_cell=4,
                cpus=16,
                constraint="a100&ib",
                account="lab",
                qos="high",
            ),
            [],
        ),
        (Profile(gres="gpu:a100:2", gpus_per_cell=2, reservation="ours"), []),
        (Profile(gpus_per_node=4), ["GPUs"]),
        (Profile(partition="lnog"), ["partition"]),
        (Profile(partition="old"), ["partition"]),
        (Profile(max_minutes=1441), ["time"]),
        (Profile(gpus_per_node=5, gpus_per_cell=5), ["node"]),
        (Profile(gres="gpu:h100:1"), ["node"]),
        (Profile(memory_gb=63), ["node"]),
        (Profile(cpus=17), ["node"]),
        (Profile(constraint="v100"), ["node"]),
        (Profile(exclude="n1"), ["node"]),
        (Profile(exclude="n[1-2]"), ["node"]),
        (Profile(partition="long,old", max_minutes=1441), []),
        (Profile(partition="old,long", memory_gb=62), []),
        (Profile(partition="long,lnog"), ["partition"]),
        (Profile(partition="old", memory_gb=11), ["partition", "node"]),
        (Profile(account="other"), ["account"]),
        (Profile(qos="other"), ["qos"]),
        (Profile(reservation="theirs"), ["reservation"]),
        (Profile(max_array_size=101), ["arrays"]),
        (Profile(artefacts=Profile(partition="lnog")), ["artefacts: partition"]),
    ],
)
def test_what_the_cluster_cannot_give_is_told(profile, problems):
    assert wrong(profile) == problems


def test_a_slurm_that_does_not_answer_is_the_finding(fake_slurm):
    fake_slurm.fails("scontrol", "Unable to contact")
    assert wrong(Profile()) == ["Slurm"]


@pytest.mark.usefixtures("cluster")
def test_the_command_ends_with_1_for_a_profile_that_does_not_fit(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text("gpus_per_node = 9\n")
    done = CliRunner().invoke(cli, ["doctor", "--slurm", str(path)])
    assert done.exit_code == 1
    assert "no node has 2 CPUs, 8 GB, 9 GPUs; n1 has 16 CPUs" in done.output
    path.write_text("gpus_per_node = 1\n")
    assert CliRunner().invoke(cli, ["doctor", "--slurm", str(path)]).exit_code == 0


def test_this_machine_is_told_with_what_limits_what(fake_slurm, monkeypatch, tmp_path):
    monkeypatch.setattr(calibration, "calibrate", lambda device: Calibration(1e12, 2e12, 1e10))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    (tmp_path / "mae.pth").write_text("")
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    found = {one["name"]: one for one in json.loads(done.output)["findings"]}
    assert done.exit_code == 0
    assert found["digits"]["is_fine"]
    assert not found["cifar10"]["is_fine"]
    assert "mae.pth" in found["weights"]["told"]
    assert found["packages"]["told"].startswith("numpy ")
    assert found["speed"]["told"].startswith("1 TFLOP/s in fp32, 2 in bf16")
    assert found["Slurm"]["is_fine"]
    assert "free" in found["disk"]["told"]
    assert found["BLAS"]["is_fine"]
    assert found["precision"]["told"].startswith("auto takes ")
    assert "hours or more" in found["papers' cell"]["told"]
    assert "energy" not in found  # nobody counts a processor's joules


@pytest.mark.parametrize(
    ("asked", "has", "kernel", "is_fine"),
    [
        ("Haswell", "AVX512", "Haswell", False),
        ("SKYLAKEX", "AVX512", "SkylakeX", True),
        ("Haswell", "AVX2", "Haswell", True),
        ("Nehalem", "AVX2", "Nehalem", False),
        ("", "AVX512", "Zen", True),  # OpenBLAS's own choice
        ("ARMV8", "DEFAULT", "armv8", True),
    ],
)
def test_a_kernel_of_blas_that_leaves_vectors_unused_is_told_where_it_was_asked_for(
    monkeypatch, asked, has, kernel, is_fine
):
    loaded = {"library": "openblas", "version": "0.3", "kernel": kernel}
    monkeypatch.setattr("bench.provenance.blas_kernels", lambda: [loaded])
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: has)
    monkeypatch.setenv("OPENBLAS_CORETYPE", asked)
    found = doctor._blas()
    assert found.is_fine == is_fine
    assert found.told.startswith(f"openblas 0.3: {kernel}")
    assert ("OPENBLAS_CORETYPE" in found.told) != is_fine


def test_a_gpu_is_told_with_what_limits_it(fake_slurm, monkeypatch, tmp_path):
    facts = {"name": "A GPU", "memory_bytes": 80e9, "capability": "9.0", "driver": "600.1"}
    monkeypatch.setattr(calibration, "calibrate", lambda device: Calibration(5e13, 5e14, 3e12))
    monkeypatch.setattr("bench.execution.resolve_device", lambda asked: "cuda")
    monkeypatch.setattr("bench.provenance.device_facts", lambda device: facts)
    monkeypatch.setattr("bench.devices.answers", lambda device: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr("bench.packing.mps_runs", lambda: False)
    monkeypatch.setattr("bench.energy.counted_joules", lambda device: None)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    found = {one["name"]: one for one in json.loads(done.output)["findings"]}
    assert found["device"]["is_fine"]
    assert "A GPU, 80 GB, compute capability 9.0, driver 600.1" in found["device"]["told"]
    assert found["precision"]["told"].startswith("auto takes bf16 for ResNet-18")
    assert not found["--pack auto"]["is_fine"]
    assert "nvidia-cuda-mps-control" in found["--pack auto"]["limits"]
    assert "pip install nvidia-ml-py" in found["energy"]["limits"]
    assert found["papers' cell"]["is_fine"]
    assert found["GPUs"]["told"].startswith("0: GPU 0, 1: GPU 1. ")
    assert "up to 2 for each cell with --gpus-per-cell" in found["GPUs"]["told"]


def test_a_gpu_that_cannot_be_used_is_told_and_the_processor_is_looked_at(
    fake_slurm, monkeypatch, tmp_path
):
    def busy(*given):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nMore.")

    for name in ("init", "get_device_properties", "synchronize"):
        monkeypatch.setattr(f"torch.cuda.{name}", busy)
    monkeypatch.setattr("bench.execution.resolve_device", lambda asked: "cuda")
    monkeypatch.setattr(calibration, "calibrate", lambda device: Calibration(1e12, 2e12, 1e10))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    found = {one["name"]: one for one in json.loads(done.output)["findings"]}
    assert done.exit_code == 0
    assert found["GPU"]["told"].endswith("are busy or unavailable")
    assert "--device cpu" in found["GPU"]["limits"]
    assert found["device"]["told"].startswith("cpu: ")


def test_a_device_without_memory_to_be_measured_in_is_told(fake_slurm, monkeypatch, tmp_path):
    def refuse(device):
        raise MemoryError

    monkeypatch.setattr(calibration, "calibrate", refuse)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    done = CliRunner().invoke(cli, ["doctor", "--json"])
    found = {one["name"]: one for one in json.loads(done.output)["findings"]}
    assert done.exit_code == 0
    assert (found["speed"]["is_fine"], found["speed"]["told"]) == (False, "not measured")
    assert "papers' cell" not in found


def test_a_speed_that_other_processes_made_slow_is_told_as_such():
    best = Calibration(1e12, 2e12, 1e10)
    idle, busy = (doctor._speed(best, share) for share in (0.99, 0.4))
    assert (idle.is_fine, busy.is_fine) == (True, False)
    assert idle.told == busy.told
    assert "other processes had the processor for 60% of the measurement" in busy.limits
