#!/bin/sh
# What the measurements are made with: nginx, wrk (both unpacked from the distribution's packages: no root, nothing
# is started) and oha. Each only where it is neither on PATH nor in the cache already.
set -eu
tools=${XDG_CACHE_HOME:-$HOME/.cache}/sre-bench
oha=1.16.0
mkdir -p "$tools"

has() { command -v "$1" >/dev/null 2>&1 || [ -x "$tools/$2" ]; }

unpack() {
    folder=$(mktemp -d)
    # As root, apt drops its rights for a download into a folder that others may write only.
    (cd "$folder" && apt-get -o APT::Sandbox::User=root download -q "$@" >/dev/null)
    for package in "$folder"/*.deb; do dpkg -x "$package" "$tools"; done
    rm -r "$folder"
}

if ! has nginx usr/sbin/nginx; then
    echo "nginx is unpacked into $tools"
    unpack nginx
fi
if ! has wrk usr/bin/wrk; then
    echo "wrk is unpacked into $tools"
    unpack wrk libluajit-5.1-2 libluajit-5.1-common
fi
if ! has oha bin/oha; then
    echo "oha $oha is built into $tools: this takes some minutes, once"
    cargo install oha --locked --version "$oha" --root "$tools"
fi
