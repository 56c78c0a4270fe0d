#!/usr/bin/env bash
# Installs the packages of the test cluster where that is possible; elsewhere its tests are skipped.
set -euo pipefail
if command -v slurmctld slurmd slurmdbd munged mariadbd >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "no root or no apt-get: the tests on a Slurm cluster will be skipped" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -qq -y --no-install-recommends \
    slurm-wlm slurmdbd munge mariadb-server >/dev/null ||
    echo "apt-get failed: the tests on a Slurm cluster will be skipped" >&2
