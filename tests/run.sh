#!/usr/bin/env bash
# Everything CI runs. Needs Rust, a C compiler and Python 3; peers are installed under target/.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}

step formatting
cargo fmt --all --check

step peers
./tests/peers.sh

step lints
cargo clippy --workspace --all-targets --locked -- -D warnings

step documentation
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

step tests
# The end-to-end tests run the binaries themselves.
cargo build --workspace --bins --locked
cargo test --workspace --locked -- --quiet

step fuzzing on the stable toolchain
# Seeds beyond those of every run; with the rest about a minute in all. `make fuzz` goes on from here.
REMORA_FUZZ_SEEDS=3000..80000 cargo test --locked -p codec --test h2_differential -- --quiet
REMORA_FUZZ_SEEDS=6000..60000 cargo test --locked -p codec --test h1_differential -- --quiet
REMORA_FUZZ_SEEDS=6000..25000 cargo test --locked -p codec --test h1_client_differential -- --quiet
REMORA_FUZZ_SEEDS=600..6000 cargo test --locked -p remora --test resource_corpus -- --quiet

step done
