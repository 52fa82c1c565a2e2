#!/bin/sh
# Makes the virtual environment that the client suites run in.
#
# Idempotent: a stamp holds the hash of the requirements (and of the Python that
# made it), so a second run costs nothing and a changed pin rebuilds it.
#
#   tests/clients/prepare.sh            make or refresh .venv/clients
#   PYTHON=python3.12 tests/clients/prepare.sh
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
venv=${CLIENTS_VENV:-$root/.venv/clients}
python=${PYTHON:-python3}

fail() {
    printf '\nclients: %s\n\n' "$1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || fail "no $python on PATH. Install it: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || fail "azure-cli needs Python 3.10 or newer, $python is $("$python" --version 2>&1)"
"$python" -c 'import ensurepip, venv' 2>/dev/null \
    || fail "$python cannot make virtual environments. Install it: apt-get install python3-venv"

stamp=$venv/.stamp
wanted=$({ cat "$here/requirements.txt" "$here/constraints.txt"; "$python" --version; } | sha256sum | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$venv/bin/az" ]; then
    exit 0
fi

printf 'clients: installing the pinned azure-cli into %s (some minutes, once)\n' "$venv" >&2
rm -rf "$venv"
"$python" -m venv "$venv" || fail "could not make a virtual environment in $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" -c "$here/constraints.txt" \
    || fail "pip could not install tests/clients/requirements.txt (is the package index reachable?)"
[ -x "$venv/bin/az" ] || fail "azure-cli installed without its az script"
printf '%s\n' "$wanted" >"$stamp"
