#!/usr/bin/env bash
# Installs the packages of the test cluster where that is possible; elsewhere its tests are skipped.
set -euo pipefail
programs=(slurmctld slurmd sbatch slurmdbd munged mariadbd mariadb-install-db)
if command -v "${programs[@]}" | wc -l | grep -qx "${#programs[@]}"; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "no root or no apt-get: the tests on a Slurm cluster will be skipped" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
get=(apt-get -qq -y -o DPkg::Lock::Timeout=300) # another apt-get may be at work
"${get[@]}" update && "${get[@]}" install --no-install-recommends \
    slurm-wlm slurmdbd munge mariadb-server >/dev/null ||
    echo "apt-get failed: the tests on a Slurm cluster will be skipped" >&2
