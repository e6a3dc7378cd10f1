#!/usr/bin/env bash
# Install what tests marked `services` start on loopback: PostgreSQL from Debian's packages, and the launchers.
# Where that is not possible (no apt, no root), the tests say that they were skipped and why.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
"$python" -m pip install --quiet "hydra-joblib-launcher>=1.2,<2" "hydra-submitit-launcher>=1.2,<2" "psycopg[binary]>=3.2,<4"

if compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; then
    echo "PostgreSQL is there already"
elif [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
else
    echo "PostgreSQL cannot be installed here (apt-get as root is needed); its tests will be skipped"
fi
