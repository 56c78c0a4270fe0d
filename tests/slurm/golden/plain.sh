#!/bin/bash

# Parameters
#SBATCH --array=0-3%4
#SBATCH --cpus-per-task=2
#SBATCH --job-name=bench-ID-0
#SBATCH --mem=8192M
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output='FOLDER/it'"'"'s my; "folder"/slurm/ID/%A_%a_0_log.out'
#SBATCH --requeue
#SBATCH --signal=B:USR2@120
#SBATCH --time=240

# setup
trap '' USR2
export BENCH_JOB_BEGAN=$(date +%s)
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export MKL_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export OPENBLAS_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# command
export SUBMITIT_EXECUTOR=slurm
exec PYTHON -u -m submitit.core._submit 'FOLDER/it'"'"'s my; "folder"/slurm/ID'

