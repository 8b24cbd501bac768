#!/usr/bin/env bash
# Builds a static program: packaging/static.sh FILE [TRIPLE]. Only the last step differs from the usual build of the
# profile SRE_PROFILE; for another TRIPLE all is built, with that target's C compiler.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
file=$1
host=$(rustc -vV | sed -n 's/^host: //p')
triple=${2:-$host}
profile=${SRE_PROFILE:-release}
folder=target
compiler=cc
arguments=(--profile "$profile" --locked --bin sre)
if [ "$triple" != "$host" ]; then
  compiler=${triple%%-*}-linux-gnu-gcc
  folder=target/$triple
  arguments+=(--target "$triple")
  variable=${triple//-/_}
  export "CARGO_TARGET_${variable^^}_LINKER=$compiler"
fi
mkdir -p target
object=$PWD/target/nss-$triple.o
"$compiler" -O2 -c packaging/nss.c -o "$object"
cargo rustc "${arguments[@]}" -- -C target-feature=+crt-static -C "link-arg=$object"
# A program that runs cannot be written to.
cp --remove-destination "$folder/$([ "$profile" = dev ] && echo debug || echo "$profile")/sre" "$file"
