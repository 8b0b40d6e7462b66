#!/bin/sh
# Installs the official Python and Node SDKs and what drives a browser, in the versions pinned beside this
# file, and two proxies into the build folder, where the tests look for them. Needs python3 with venv, npm,
# and Debian's apt for the proxies. Nothing is installed into the system, and no service is started.
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
unpack() {
    mkdir -p "$peers/proxies"
    (cd "$peers/proxies" && apt-get -qq download tinyproxy-bin microsocks &&
        for package in *.deb; do dpkg -x "$package" .; done && rm -f ./*.deb)
}
has() {
    [ -x "$peers/proxies/usr/bin/$1" ] || command -v "$1" >/dev/null
}
if ! { has tinyproxy && has microsocks; }; then
    # The lists of packages may never have been fetched.
    unpack || { apt-get -qq update && unpack; }
fi
echo "peers installed under $peers"
