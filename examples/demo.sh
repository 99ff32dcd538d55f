#!/usr/bin/env bash
# make demo: builds the programs, then walks through a mesh with live traffic. STAY=1 keeps it up.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in cargo cc python3; do
  command -v "$tool" >/dev/null || { echo "make demo needs Rust, a C compiler and Python 3: there is no $tool" >&2; exit 2; }
done
echo "Building (the first time takes a few minutes)"
cargo build --release --locked -p remora -p remora-control-plane -p greeter
exec python3 examples/demo.py ${STAY:+--stay} "$@"
