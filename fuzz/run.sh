#!/bin/sh
# Runs the fuzz targets with the stable compiler (cargo-fuzz would want a nightly one; the coverage pass it turns on is
# in every compiler). All code under test is safe Rust, so no address sanitizer is needed.
#
#   fuzz/run.sh [TARGET|all] [SECONDS]   fuzz for a while; default: all, 60 seconds each
#   fuzz/run.sh minimise TARGET          fold what was found into the committed corpus
#
# What a run finds stays in fuzz/target/corpus; a crash leaves its input in fuzz/artifacts and the exit status is not 0.
# The committed seeds and corpus are replayed by `cargo nextest run -p bastide-access -p bastide-arm -p bastide-image
# -p bastide-inspect -p bastide-firewall -p bastide-template` too.
set -eu
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
targets=$(sed -n 's/^name = "\(.*\)"/\1/p' Cargo.toml | tail -n +2)

build() {
    # The host is named so that the flags stay away from build scripts and macros. The own target directory keeps an
    # inherited one clean.
    CARGO_TARGET_DIR=target RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
        -Cllvm-args=-simplifycfg-branch-fold-threshold=0" \
        cargo build --quiet --locked --release --target "$host" --bin "$1"
}

fuzz() {
    build "$1"
    mkdir -p "target/corpus/$1" "artifacts/$1" "corpus/$1"
    echo "fuzzing $1 for $2 seconds"
    "target/$host/release/$1" "target/corpus/$1" "corpus/$1" "seeds/$1" -dict="dictionaries/$1.dict" \
        -artifact_prefix="artifacts/$1/" -max_total_time="$2" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1
}

minimise() {
    build "$1"
    mkdir -p "target/corpus/$1" "corpus/$1"
    rm -rf "target/minimised/$1"
    mkdir -p "target/minimised/$1"
    # The fewest short inputs that together reach every branch: small enough to commit, quick to replay.
    "target/$host/release/$1" -set_cover_merge=1 -use_counters=0 -max_len=512 "target/minimised/$1" "corpus/$1" "target/corpus/$1"
    rm -rf "corpus/$1"
    mv "target/minimised/$1" "corpus/$1"
}

case "${1:-all}" in
minimise) minimise "$2" ;;
all) for target in $targets; do fuzz "$target" "${2:-60}"; done ;;
*) fuzz "$1" "${2:-60}" ;;
esac
