"""The command's exit codes."""

SOME_FAILED = 1
"""Some cells failed or were not submitted, or nothing can be written; the rest is kept."""
WRONG_USE = 2
"""The request is wrong, or Slurm takes no job; nothing was run or submitted."""
INTERRUPTED = 130
"""Ctrl-C; what is complete is kept."""
TERMINATED = 143
"""SIGTERM; what is complete is kept."""
