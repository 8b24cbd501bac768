#!/usr/bin/env bash
# Lays a program and the libraries that it is linked to into a folder, to make an image of: tests/rootfs.sh PROGRAM FOLDER.
# For tests that need an image of sre and no static build of it.
set -euo pipefail
program=$1 folder=$2
install -D -m 755 "$program" "$folder/bin/sre"
strip --strip-debug "$folder/bin/sre"
ldd "$program" | grep -oE '/[^ ]+' | while read -r library; do
  install -D -m 755 "$(readlink -f "$library")" "$folder$library"
done
mkdir -p "$folder/tmp"
chmod -R a+rX "$folder"
chmod 1777 "$folder/tmp"
