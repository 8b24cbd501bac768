#!/usr/bin/env bash
# Makes what a release needs into a folder: packaging/dist.sh FOLDER TRIPLE=PROGRAM…
# For each static program an archive, an image and a bill of materials, and the checksums of all. The first program runs
# here: it writes the manual pages and the completions. Equal programs make equal files: their only time is
# SOURCE_DATE_EPOCH, else that of the last commit.
set -euo pipefail
out=$(readlink -m "$1")
shift
cd "$(dirname "$(readlink -f "$0")")/.."
for tool in jq strip sha256sum; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install jq binutils coreutils" >&2; exit 1; }
done
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022
# The same order everywhere.
export LC_ALL=C
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
runs=$(readlink -f "${1#*=}")
version=$("$runs" --version | cut -d ' ' -f 2)

# The standard libraries are a part of the program, too.
rust=$(rustc -vV | sed -n 's/^release: //p')
libc=$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)
time=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

# The licences of what is linked in, each text once, with the packages that it comes with.
notices() {
  local name version licence folder file sum
  local -A texts=() packages=()
  echo "This program holds the packages below. Its own licence is in LICENSE."
  while IFS=$'\t' read -r name version licence folder; do
    printf '%s %s: %s\n' "$name" "$version" "$licence"
    for file in "$folder"/{LICEN[SC]E,COPYING,NOTICE,UNLICENSE,COPYRIGHT}*; do
      [ -f "$file" ] || continue
      sum=$(sha256sum <"$file")
      texts[$sum]=$file
      packages[$sum]+="$name $version, "
    done
  done
  echo
  echo "It also holds Rust's standard library $rust (MIT OR Apache-2.0) and the GNU C Library $libc (LGPL-2.1-or-later). To link"
  echo "it with another one, build it from its source: packaging/static.sh FILE"
  for sum in $(printf '%s\n' "${!texts[@]}" | cut -d ' ' -f 1 | sort); do
    printf '\n%s\n%s\n\n' "$(printf -- '-%.0s' {1..80})" "${packages["$sum  -"]%, }"
    cat "${texts["$sum  -"]}"
  done
}

mkdir -p "$out"
rm -f "$out"/sre-* "$out/SHA256SUMS"
for pair in "$@"; do
  triple=${pair%%=*} program=${pair#*=}
  name=sre-$version-$triple
  folder=$stage/$name
  mkdir -p "$folder/completions"
  install -m 755 "$program" "$folder/sre"
  strip=(strip)
  [ "$program" = "${1#*=}" ] || strip=("${triple%%-*}-linux-gnu-strip")
  "${strip[@]}" --strip-debug "$folder/sre"
  install -m 644 README.md CHANGELOG.md LICENSE "$folder"
  for path in docs findings; do
    mkdir "$folder/$path"
    # A folder of a project has more in it than what is committed.
    git ls-files -z "$path" | xargs -0 -I{} install -D -m 644 {} "$folder/{}"
  done
  chmod 755 "$folder"/findings/*.sh
  "$runs" completions bash >"$folder/completions/sre.bash"
  "$runs" completions zsh >"$folder/completions/_sre"
  "$runs" completions fish >"$folder/completions/sre.fish"
  "$runs" --quiet man "$folder/man/man1" >/dev/null

  metadata=$stage/metadata.json tree=$stage/tree
  cargo metadata --locked --format-version 1 --filter-platform "$triple" >"$metadata"
  cargo tree --locked --edges normal,no-proc-macro --target "$triple" --prefix none --format '{p}' >"$tree"
  jq -L packaging --rawfile lock Cargo.lock --rawfile tree "$tree" --arg time "$time" --arg rust "$rust" --arg libc "$libc" \
    -f packaging/sbom.jq "$metadata" >"$out/$name.cdx.json"
  # shellcheck disable=SC2016 # jq's own variables
  jq -L packaging -r --rawfile tree "$tree" 'include "linked"; .resolve.root as $root | linked($tree)[] | select(.id != $root)
    | [.name, .version, .license // "see its text", (.manifest_path | rtrimstr("/Cargo.toml"))] | @tsv' "$metadata" |
    notices >"$folder/THIRD-PARTY"

  tar --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    -C "$stage" -cf - "$name" | gzip -n >"$out/$name.tar.gz"
  SRE_IMAGE_BINARY=${SRE_IMAGE_BINARY:-$folder/sre} "$runs" --quiet image "$out/$name.oci.tar" >/dev/null
done
(cd "$out" && sha256sum sre-* >SHA256SUMS)
