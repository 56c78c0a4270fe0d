#!/bin/bash

# Parameters
#SBATCH --account=lab
#SBATCH --array=0-3%4
#SBATCH --constraint='a100&ib'
#SBATCH --cpus-per-task=8
#SBATCH --exclude='node[3-4]'
#SBATCH --exclusive
#SBATCH --gres=gpu:a100:2
#SBATCH --job-name=bench-ID-0
#SBATCH --mail-type=END
#SBATCH --mem=32256M
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output='FOLDER/it'"'"'s my; "folder"/slurm/ID/%A_%a_0_log.out'
#SBATCH --partition=long
#SBATCH --qos=high
#SBATCH --requeue
#SBATCH --reservation=ours
#SBATCH --signal=USR2@120
#SBATCH --time=300

# setup
trap '' USR2
export BENCH_JOB_BEGAN=$(date +%s)
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export MKL_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export OPENBLAS_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export HF_HUB_OFFLINE=1
export HF_DATASETS_OFFLINE=1
export TRANSFORMERS_OFFLINE=1
export TMPDIR="/scratch/$USER/\"$SLURM_JOB_ID\""
mkdir -p "$TMPDIR"
module load cuda
source 'my env/bin/activate'

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output 'FOLDER/it'"'"'s my; "folder"/slurm/ID/%A_%a_%t_log.out' --cpu-bind=none --cpus-per-task=8 singularity exec i.sif python -u -m submitit.core._submit 'FOLDER/it'"'"'s my; "folder"/slurm/ID'

