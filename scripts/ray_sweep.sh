#!/usr/bin/env bash
# A sweep on a Ray cluster that runs already: RAY_ADDRESS=HEAD:6379 bash scripts/ray_sweep.sh table1 [more arguments]
#
# To start such a cluster by hand, with the same .venv at the same path on every machine:
#   on one:     ray start --head --port=6379
#   on others:  ray start --address=HEAD:6379
#   afterwards: ray stop
# Ray 2.60 asks for a token, which must be the same on every machine and where the sweep is started, before `ray start`: see
# `ray get-auth-token --help`. A cluster with another token refuses the sweep with InvalidAuthToken.
#
# What a site must change, here or in the environment:
#   RAY_ADDRESS    HOST:PORT of the head; auto on one of the cluster's own machines
#   WORKERS        workers at a time; Ray places each where its share is free
#   CPUS, GPUS     share of each worker; with GPUS=1 Ray gives every worker a GPU of its own
#   STORAGE        as in slurm_sweep.sh: empty for a journal on a shared file system, else postgresql+psycopg://USER@HOST/DB.
#                  Ray's workers have the environment in which `ray start` was called: the password is in ~/.pgpass there.
# Without a cluster, `capsbench sweep table1 --launcher ray --workers 4` starts a Ray on this machine for as long as it runs.
set -euo pipefail
name="${1:?name of a sweep, e.g. quick}"
shift
capsbench="${CAPSBENCH:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin/capsbench}"
words=(--launcher ray_cluster --workers "${WORKERS:-8}" "hydra.launcher.ray.remote.num_cpus=${CPUS:-4}")
[[ "${GPUS:-1}" -eq 0 ]] || words+=("+hydra.launcher.ray.remote.num_gpus=${GPUS:-1}")
[[ -z "${STORAGE:-}" ]] || words+=(--storage "$STORAGE")
exec "$capsbench" sweep "$name" "${words[@]}" "$@"
