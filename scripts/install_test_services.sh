#!/usr/bin/env bash
# Install what tests marked `services` start on loopback: PostgreSQL from Debian's packages.
# Where that is not possible (no apt, no root), the tests say that they were skipped and why.
set -euo pipefail
if compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; then
    echo "PostgreSQL is there already"
elif [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql \
        >/dev/null || echo "installing PostgreSQL failed; its tests will be skipped"
else
    echo "PostgreSQL cannot be installed here (apt-get as root is needed); its tests will be skipped"
fi
