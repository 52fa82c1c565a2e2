#!/bin/sh
# Licences, duplicate versions and sources of every dependency, and known vulnerabilities when their database can be
# reached. What is not checked is said.
set -eu
cd -- "$(dirname -- "$0")/.."

scripts/prerequisites.sh deny
cargo deny --locked check bans licenses sources
if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --locked check --disable-fetch advisories
else
    printf 'SKIP advisories: the database of vulnerabilities cannot be reached from here\n'
fi
