#!/bin/sh
# Installs Chromium, which the tests of the example `backend` open its page with, from Debian's
# packages into the system: it needs too much of it to be unpacked beside the build. What drives it
# (playwright-core) comes with tests/peers/install.sh.
set -eu
[ -x /usr/bin/chromium ] && exit
install() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium
}
# The lists of packages may be old, or may never have been fetched.
install >/dev/null 2>&1 || { apt-get -qq update && install >/dev/null; }
