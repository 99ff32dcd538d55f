#!/usr/bin/env bash
# Makes the Python environment of the end-to-end tests under target/peers: grpcio with its xDS
# client, hyper-h2, hpack, and Envoy (a binary inside its package). Done once; versions are pinned.
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=tests/peers.txt
environment=target/peers
stamp=$environment/installed.txt
if cmp -s "$requirements" "$stamp"; then
  exit 0
fi
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  echo "the test peers need Python's venv: on Debian and Ubuntu install python3-venv" >&2
  exit 2
fi
echo "installing test peers into $environment"
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
cp "$requirements" "$stamp"
