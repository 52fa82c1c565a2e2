#!/bin/sh
# Runs the real-client suites against the release binary: az, the wire by hand, durability, and last the search for
# secrets in everything the servers wrote.
#
#   tests/clients/run.sh                    everything
#   tests/clients/run.sh az wire            some suites: az, sdk, wire, process, wall, compute, durability
#   BASTIDE_BIN=target/debug/bastide ...    another binary
#   BASTIDE_KILL_ROUNDS=10 ...              a shorter durability test
#
# Ends with a non-zero status when a test fails or something the suites need is missing.
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
BASTIDE_BIN=${BASTIDE_BIN:-$root/target/release/bastide}
export BASTIDE_BIN

fail() {
    printf '\nclients: CANNOT RUN: %s\n\n' "$1" >&2
    exit 1
}

[ -x "$BASTIDE_BIN" ] || fail "no binary at $BASTIDE_BIN. Build it: cargo build --release (or set BASTIDE_BIN)"
command -v curl >/dev/null 2>&1 || fail "curl is missing. Install it: apt-get install curl"
"$here/prepare.sh" || fail "the virtual environment could not be prepared; see above"
python=${CLIENTS_VENV:-$root/.venv/clients}/bin/python

suites=${*:-az sdk wire process wall compute durability}
BASTIDE_SUITE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/bastide-clients.XXXXXX") || fail "no temporary directory"
# Started by root, the server is a user of its own, who must find the way to its data.
chmod 711 "$BASTIDE_SUITE_DIR"
export BASTIDE_SUITE_DIR
status=0

# pytest's exit code 5 (no tests) is a failure like any other: a suite that vanished must not pass.
run() {
    printf '\nclients: %s\n' "$1" >&2
    shift
    pytest "$@" && return
    # On a machine that is not ours a neighbour may take the processor for half a minute. What really fails does so twice.
    [ $? = 1 ] && [ -n "${CI:-}" ] && {
        printf '\nclients: what failed is run once more, alone\n' >&2
        pytest "$@" --last-failed --last-failed-no-failures none -n 0 && return
    }
    status=1
}

pytest() { "$python" -m pytest -c "$root/tests/pytest.ini" --rootdir "$root/tests" "$@"; }

parallel=""
for suite in $suites; do
    case $suite in
        az | sdk | wire | process | wall | compute) parallel="$parallel $here/$suite" ;;
        durability) ;;
        *) fail "no suite named '$suite': az, sdk, wire, process, wall, compute or durability" ;;
    esac
done
# Two workers, each with a Bastide of its own; a file's tests stay together.
# shellcheck disable=SC2086 # the suites are words
[ -z "$parallel" ] || run "real clients and the wire" -q -n 2 --dist loadfile --durations 10 $parallel
case " $suites " in
    *" durability "*) run "durability" -q "$root/tests/durability" ;;
esac
# The other suites use hardly any secret, and a search for nothing finds nothing.
case " $suites " in
    *" az "* | *" wire "*) run "secrets in logs and databases" -q "$here/secrecy" ;;
esac

if [ "$status" = 0 ]; then
    rm -rf "$BASTIDE_SUITE_DIR"
    printf '\nclients: passed\n' >&2
else
    printf '\nclients: FAILED; logs and data directories are in %s\n' "$BASTIDE_SUITE_DIR" >&2
fi
exit "$status"
