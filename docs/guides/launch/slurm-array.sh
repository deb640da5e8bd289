#!/bin/bash
# Twenty workers on a job that `batchjob start` made: sbatch slurm-array.sh
# The password is in ~/.pgpass, the key in a file that you alone may read. The nodes must reach the database.
#SBATCH --job-name=batchjob
#SBATCH --array=1-20
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=512M
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@135
#SBATCH --output=batchjob-%A-%a.log

# 135 seconds before its time is over the worker gets SIGTERM: it waits for its answers and ends.
export BATCHJOB_DB=postgresql://me@db.example.org/labels
srun batchjob work tickets --log-format json --api-key-command 'cat ~/.batchjob-key'
