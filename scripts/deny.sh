#!/bin/sh
# Licences, duplicate versions and sources of every dependency, and known vulnerabilities when their database can be
# reached. What is not checked is said.
set -eu
cd -- "$(dirname -- "$0")/.."

if ! cargo deny --version >/dev/null 2>&1; then
    printf 'SKIP deny: cargo-deny is not installed, and building it can take ten minutes; make prerequisites does it\n'
    exit 0
fi
cargo deny --locked check bans licenses sources
if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --locked check --disable-fetch advisories
else
    printf 'SKIP advisories: the database of vulnerabilities cannot be reached from here\n'
fi
