"""Cells that failed, and jobs as a fake squeue tells them."""

from __future__ import annotations

import time


def fail(results, cell, cause="ValueError", phase="training"):
    results.write_failure(cell, {"phase": phase, "type": cause, "message": "m"})


def in_queue(fake_slurm, submission, *states, end="N/A"):
    array = submission.arrays[-1]
    lines = [
        f"{i}|{array.job}|{i}|{state}|node{i}|{reason}|1:00|{end}|{array.name}"
        for i, (state, reason) in enumerate(states)
    ]
    fake_slurm.says("squeue", "\n".join([*lines, "9|9|0|RUNNING|x|None|0:01|N/A|bench-of|others"]))


def ended(ago):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - ago))
