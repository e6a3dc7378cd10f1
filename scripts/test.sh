#!/usr/bin/env bash
# The test command: makes the environment, then style, types and the tests that are not marked slow (under 10 minutes on
# 2 cores). Arguments go to pytest instead: -k resume, or -m "slow or not slow" for everything, as CI has it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
install dev,local,slurm,ray,postgres
bash scripts/install_test_services.sh
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/mypy"
if [ $# -eq 0 ]; then
  set -- -m "not slow"
fi
exec "$venv/bin/pytest" -n "${CAPSBENCH_TEST_WORKERS:-2}" --dist loadfile "$@"
