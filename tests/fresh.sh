#!/usr/bin/env bash
# The README's commands on a machine that is as good as new: no package lists, no programs but the system's, nothing
# of Rust's but the compiler, an empty home. Only mounts that nobody else sees are made; needs Linux, apt and unshare.
#
#   tests/fresh.sh PROGRAM   the main job with a program that is built already; as root, for a user without rights
#   tests/fresh.sh           both commands from nothing: from a clone of what is committed, with an empty registry
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

# Where the system keeps lists and archives of packages.
lists="/var/lib/apt/lists /var/cache/apt"
# What a machine with Rust and a C compiler need not have.
hidden="cmake ninja clang go protoc pkg-config python3 curl wget just helm kubectl
  prometheus promtool prometheus-alertmanager alertmanager prometheus-node-exporter node_exporter loki"

# Inside, as root of the mounts: empties the machine, and goes on.
if [ "${1:-}" = emptied ]; then
  shift
  for folder in $lists; do mount -t tmpfs tmpfs "$folder"; done
  mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial
  for name in $hidden; do
    # A program that cannot be run, in place of each that is here.
    for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
      [ ! -f "$folder/$name" ] || mount --bind /dev/null "$folder/$name"
    done
  done
  exec "$@"
fi

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/home"
spaces=(--mount --propagation private)
[ "$(id -u)" = 0 ] || spaces+=(--user --map-root-user)

# How this machine reaches others is not part of what is emptied.
environment=(HOME="$place/home" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8)
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR; do
  [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done
emptied() { unshare "${spaces[@]}" -- "$root/tests/fresh.sh" emptied env -i "${environment[@]}" "$@"; }

if [ $# -gt 0 ]; then
  install -m 755 "$1" "$place/sre"
  install -m 755 "$root/tests/end-to-end.sh" "$place/end-to-end.sh"
  environment+=(SRE="$place/sre")
  user=()
  if [ "$(id -u)" = 0 ]; then
    chown -R 65534:65534 "$place"
    user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  fi
  # The system's own lists and archives are left as they were: there are none.
  emptied sh -c '"$@" && find /var/lib/apt/lists /var/cache/apt -type f | { ! grep .; }' sh "${user[@]}" "$place/end-to-end.sh"
  echo "the main job passes on an emptied machine"
  exit
fi

# The compiler alone, without what rustup and cargo keep at home.
toolchain=$(rustc --print sysroot)/bin
environment=("${environment[@]/#PATH=/PATH=$toolchain:}")
git clone --quiet "$root" "$place/clone"
cd "$place/clone"
for command in "cargo run --release -- run errors --target local --yes" "cargo test --locked"; do
  grep -qxF "$command" README.md || { echo "the README does not say: $command" >&2; exit 1; }
  echo "$command"
  emptied sh -c "$command"
done
echo "both commands of the README pass on an emptied machine"
