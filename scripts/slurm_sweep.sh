#!/usr/bin/env bash
# A sweep on SLURM: bash scripts/slurm_sweep.sh table1 [capsbench sweep's own arguments]
#
# Start it on a login node (in tmux, it waits for the workers), or as a small job: sbatch --cpus-per-task=1 --time=... this.
# It submits WORKERS jobs; each takes one run after another until none is left. A job that is cancelled, dies or comes to
# the end of its time leaves its run to the others, which continue it from its checkpoint. If this script dies the jobs go
# on; the same command again watches them and finishes what is left.
#
# What a site must change, here or in the environment:
#   PARTITION, ACCOUNT, QOS   as sinfo and sacctmgr show them; empty: the site's defaults
#   WORKERS, GPUS, CPUS       jobs at a time; GPUs and CPU cores of each (GPUS=0: none)
#   MINUTES                   length of a job. Longer than the longest run is best, but shorter works, too: SLURM sends
#                             USR2 two minutes before the end and the job is queued again, up to REQUEUES times.
#   STORAGE                   empty: a journal file beside the runs, for which runs/ must be on a file system that all
#                             nodes share and that knows flock (NFS 4, Lustre mounted with -o flock, BeeGFS, GPFS).
#                             Else postgresql+psycopg://USER@HOST/DATABASE with the
#                             password in ~/.pgpass (mode 600), which every node can read.
# .venv and the folder of the runs must be at the same path on every node. sacct must work (submitit asks it whether a job
# is still alive). For modules: 'hydra.launcher.setup=[module load cuda]'. GPU types: hydra.launcher.constraint=a100.
set -euo pipefail
name="${1:?name of a sweep, e.g. quick}"
shift
capsbench="${CAPSBENCH:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin/capsbench}"
words=(--launcher submitit_slurm --workers "${WORKERS:-8}"
    "hydra.launcher.timeout_min=${MINUTES:-240}" "hydra.launcher.max_num_timeout=${REQUEUES:-20}"
    "hydra.launcher.cpus_per_task=${CPUS:-4}" "hydra.launcher.name=capsbench")
[[ "${GPUS:-1}" -eq 0 ]] || words+=("hydra.launcher.gpus_per_node=${GPUS:-1}")
[[ -z "${PARTITION:-}" ]] || words+=("hydra.launcher.partition=$PARTITION")
[[ -z "${ACCOUNT:-}" ]] || words+=("hydra.launcher.account=$ACCOUNT")
[[ -z "${QOS:-}" ]] || words+=("hydra.launcher.qos=$QOS")
[[ -z "${STORAGE:-}" ]] || words+=(--storage "$STORAGE")
exec "$capsbench" sweep "$name" "${words[@]}" "$@"
