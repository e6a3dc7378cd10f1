#!/usr/bin/env bash
# The test command: makes the environment, then style, types and tests. Arguments go to pytest (e.g. -m "not slow", -k resume).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
install dev,local,slurm,postgres
bash scripts/install_test_services.sh
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/mypy"
exec "$venv/bin/pytest" -n "${CAPSBENCH_TEST_WORKERS:-2}" --dist loadfile "$@"
