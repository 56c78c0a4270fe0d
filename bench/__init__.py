"""The benchmark's core: what every floor above it (methods, reports, slurm) stands on."""
