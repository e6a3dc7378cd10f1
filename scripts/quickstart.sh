#!/usr/bin/env bash
# From a fresh clone to an ablation report: makes .venv, installs, runs `capsbench sweep quick`, says where the report is.
# Run it again and it reuses everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
install ""
exec "$venv/bin/capsbench" sweep quick "$@"
