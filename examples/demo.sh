#!/usr/bin/env bash
# make demo: builds the programs, then walks through a mesh with live traffic. STAY=1 keeps it up.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v python3 >/dev/null || { echo "make demo needs python3" >&2; exit 2; }
echo "Building (the first time takes a few minutes)"
cargo build --release --locked -p remora -p remora-control-plane -p greeter
exec python3 examples/demo.py ${STAY:+--stay} "$@"
