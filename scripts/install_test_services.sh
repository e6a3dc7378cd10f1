#!/usr/bin/env bash
# Install what tests marked `services` start on loopback, from Debian's packages: PostgreSQL, SLURM and munge.
# Where that is not possible (no apt, no root, no network), the tests say that they were skipped and why, and this ends well
# all the same. No service is started here.
set -euo pipefail

missing=()
compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
[[ -x /usr/sbin/munged ]] || missing+=(munge)
[[ -x /usr/sbin/slurmctld && -x /usr/sbin/slurmd && -x /usr/bin/sbatch ]] || missing+=(slurmctld slurmd slurm-client)
if [[ ${#missing[@]} -eq 0 ]]; then
    echo "PostgreSQL, SLURM and munge are there already"
    exit
fi
if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "${missing[*]}: cannot be installed here (apt-get as root is needed); the tests that need them will be skipped"
    exit
fi

# Debian starts a service as soon as it is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
no_services() {
    [[ -e $policy ]] && return
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
}
apt() {
    timeout -k 10 "$1" apt-get -qq -o DPkg::Lock::Timeout=60 -o Acquire::Retries=1 -o Acquire::http::Timeout=15 \
        -o Acquire::https::Timeout=15 -o Dpkg::Options::=--force-confold "${@:2}" </dev/null >/dev/null
}
export DEBIAN_FRONTEND=noninteractive
# An installation that was interrupted makes apt refuse all others until dpkg has ended it.
if no_services && timeout -k 10 120 dpkg --configure -a --force-confold </dev/null >/dev/null && apt 120 update &&
    apt 400 install -y --no-install-recommends "${missing[@]}"; then
    echo "installed ${missing[*]}"
else
    echo "installing ${missing[*]} failed; the tests that need them will be skipped"
fi
