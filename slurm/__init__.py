"""The floor for Slurm: from plans to submitit jobs, and watching them. Empty as yet.

A worker will read a plan's file (:meth:`bench.cells.Plan.read`) and hand the cells that it was
given to :func:`bench.execution.execute`, which is safe with many workers on one results folder.
"""
