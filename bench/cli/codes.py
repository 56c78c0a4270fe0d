"""The command's exit codes."""

SOME_FAILED = 1
"""Some cells failed, or results could no longer be written; what is complete is kept."""
WRONG_USE = 2
"""The request is wrong; nothing was run."""
INTERRUPTED = 130
"""Ctrl-C; what is complete is kept."""
TERMINATED = 143
"""SIGTERM; what is complete is kept."""
