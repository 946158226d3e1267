#!/bin/bash
# A batch as a Slurm job array: each task does one shard of the manifest on its own node, with a ledger of its own.
#
#   sbatch --array=1-16 examples/batchSlurm.sh night.ecsv differences
#
# The same command again, after a failure or the end of the time, does what is not done. Slurm sends SIGTERM a while
# before it ends a job (--signal): the pairs at work are finished then, no others begun. How far it is:
#
#   psfmatch batch night.ecsv -o differences --status
#
#SBATCH --job-name=psfmatch
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=02:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --output=psfmatch-%A-%a.log
set -euo pipefail
manifest=$1
directory=$2

# exec: the signal goes to psfmatch itself. Memory: four fifths of what the job may use, as it sees it.
exec srun psfmatch batch "$manifest" -o "$directory" --resume \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --workers "$SLURM_CPUS_PER_TASK" --threads 1
