#!/bin/bash
#SBATCH --job-name=prunebench
#SBATCH --array=1-16
#SBATCH --cpus-per-task=1
#SBATCH --time=08:00:00
#
# Runs the cells of a file as a job array of Slurm, in sixteen parts that know nothing of each other.
#
#     sbatch examples/slurm_array.sh digits
#
# Arrays are numbered from 1. A task that was stopped goes on when it is submitted again
# (sbatch --array=7 … would be one part of one: give the count with it, as PARTS=16). When all are
# done:
#
#     prunebench merge runs/shard-* -o runs/all
#     prunebench leaderboard runs/all

set -euo pipefail
part=$SLURM_ARRAY_TASK_ID
parts=${PARTS:-$SLURM_ARRAY_TASK_COUNT}

exec prunebench run "$@" --shard "$part/$parts" --runs "runs/shard-$part"
