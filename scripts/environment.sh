#!/usr/bin/env bash
# Makes .venv beside this checkout, or brings it up to date, and leaves $python set. Source it from the other scripts.
#
#   PYTHON        interpreter to make the environment from (default: the newest of python3.13, 3.12, 3.11 or python3)
#   CAPSBENCH_VENV  where the environment goes (default: .venv in the checkout)
set -euo pipefail
checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${CAPSBENCH_VENV:-$checkout/.venv}"
python="$venv/bin/python"

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "capsbench needs Python 3.11, 3.12 or 3.13; none found. Set PYTHON to one." >&2
  return 1
}

# install EXTRAS: the package with these extras, editable, in the tested versions of constraints.txt. Skipped when nothing
# that decides the environment has changed since last time.
install() {
  local extras="$1" stamp="$venv/.capsbench-installed-$1" wanted
  wanted="$(cat "$checkout/pyproject.toml" "$checkout/constraints.txt" | cksum)"
  if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  if [ ! -x "$python" ]; then
    echo "making $venv" >&2
    "$(find_python)" -m venv "$venv"
  fi
  echo "installing into $venv (a few minutes the first time)" >&2
  "$python" -m pip install --disable-pip-version-check --constraint "$checkout/constraints.txt" --editable "$checkout${extras:+[$extras]}"
  echo "$wanted" >"$stamp"
}
