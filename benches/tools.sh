#!/bin/sh
# What the measurements are made with: nginx, wrk (both unpacked from the distribution's packages: no root, nothing
# is started) and oha; with `counting`, all load generators that can be had, and no nginx. Each only where it is neither on
# PATH nor in the cache already.
set -eu
tools=${XDG_CACHE_HOME:-$HOME/.cache}/sre-bench
oha=1.16.0
vegeta=12.13.0
bombardier=1.2.6
mkdir -p "$tools"

has() { command -v "$1" >/dev/null 2>&1 || [ -x "$tools/$2" ]; }

# Packages, of which the first gives the tool: not every distribution has it, or its version.
unpack() {
    echo "$1 is unpacked into $tools"
    folder=$(mktemp -d)
    # As root, apt drops its rights for a download into a folder that others may write only.
    (cd "$folder" && apt-get -o APT::Sandbox::User=root download -q "$@" >/dev/null)
    for package in "$folder"/*.deb; do dpkg -x "$package" "$tools"; done
    dpkg-deb -f "$folder/$1"_*.deb Version >"$tools/$1.version"
    rm -r "$folder"
}

# A module in Go, built; left out where there is no Go.
build() {
    echo "$1 is built into $tools"
    GOBIN="$tools/bin" go install "$2"
}

[ "${1:-}" = counting ] || has nginx usr/sbin/nginx || unpack nginx
has wrk usr/bin/wrk || unpack wrk libluajit-5.1-2 libluajit-5.1-common
if ! has oha bin/oha; then
    echo "oha $oha is built into $tools: this takes some minutes, once"
    cargo install oha --locked --version "$oha" --root "$tools"
fi
if [ "${1:-}" = counting ]; then
    # What cannot be had here is a row "not here".
    has ab usr/bin/ab || unpack apache2-utils libapr1 libaprutil1 || true
    has hey usr/bin/hey || unpack hey || true
    has h2load usr/bin/h2load || unpack nghttp2-client libnghttp2-14 libev4 libc-ares2 libjansson4 libxml2 || true
    has siege usr/bin/siege || unpack siege || true
    has vegeta bin/vegeta || build vegeta "github.com/tsenart/vegeta/v12@v$vegeta" || true
    has bombardier bin/bombardier || build bombardier "github.com/codesenberg/bombardier@v$bombardier" || true
fi
