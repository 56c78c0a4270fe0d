"""The floor for Slurm: from plans to submitit jobs, and watching them.

A job is given data, never a closure: a results folder, a plan's file and the ids of its cells. It
hands them to :func:`bench.execution.execute`, which is safe with many workers on one folder.
"""
