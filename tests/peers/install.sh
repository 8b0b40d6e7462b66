#!/bin/sh
# Installs the official Python and Node SDKs, in the versions pinned beside this file, into the
# build folder, where tests/outside looks for them. Needs python3 with venv, and npm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here" && cargo metadata --no-deps --format-version 1 |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
peers=$target/peers

mkdir -p "$peers/node"
[ -x "$peers/python/bin/python" ] || python3 -m venv "$peers/python"
"$peers/python/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"

cp "$here/package.json" "$here/package-lock.json" "$peers/node/"
(cd "$peers/node" && npm ci --no-audit --no-fund --loglevel=error)
echo "peers installed under $peers"
