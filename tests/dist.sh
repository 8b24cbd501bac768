#!/usr/bin/env bash
# The archive of `just dist` where nothing of this machine is: in an empty root file system, and in a new Debian whose C
# library is another one, which has no certificates, and whose names are asked of a service of its own. Needs root and
# debootstrap; what is made is removed. tests/dist.sh [ARCHIVE]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
suite=trixie

# Inside, with mounts and processes of its own: goes into the folder $2 as user $3, and runs what follows.
if [ "${1:-}" = inside ]; then
  place=$2 user=$3
  shift 3
  for folder in proc sys tmp dev; do mkdir -p "$place/$folder"; done
  mount -t proc proc "$place/proc"
  mount -t sysfs -o ro sysfs "$place/sys"
  mount -t tmpfs -o mode=1777 tmpfs "$place/tmp"
  for device in null zero urandom; do
    [ -e "$place/dev/$device" ] || touch "$place/dev/$device"
    mount --bind "/dev/$device" "$place/dev/$device"
  done
  # Not by exec: the first process waits for the others.
  chroot --userspec="$user:$user" "$place" "$@"
  exit
fi

[ "$(id -u)" = 0 ] || { echo "only root can go into another root file system" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }
triple=$(rustc -vV | sed -n 's/^host: //p')
archive=${1:-$(ls "$root"/target/dist/sre-*-"$triple".tar.gz)}
name=$(basename "$archive" .tar.gz)
version=${name#sre-}
version=${version%"-$triple"}
place=$(mktemp -d)
chmod 755 "$place"
# Nothing is mounted there by now: mounts are seen by those inside only.
trap 'rm -rf --one-file-system "$place"' EXIT
user=65534
inside() { unshare --mount --propagation private --pid --fork --kill-child -- "$root/tests/dist.sh" inside "$@"; }

echo "in an empty root file system"
mkdir -p "$place/empty"
tar -xzf "$archive" -C "$place/empty" --strip-components=1 "$name/sre"
empty() { inside "$place/empty" "$user" /sre "$@"; }
[ "$(empty --version)" = "sre $version" ] || { empty --version; exit 1; }
empty completions bash | grep -q '^_sre()'
empty man /tmp/man | grep -q 'sre-run.1'
empty image /tmp/image.tar
empty list | grep -q errors

echo "in a new Debian ($suite)"
debootstrap --variant=minbase --include=libnss-myhostname "$suite" "$place/debian" >"$place/log" 2>&1 ||
  { tail -n 20 "$place/log" >&2; exit 1; }
cp /etc/resolv.conf "$place/debian/etc/resolv.conf"
for file in /etc/apt/apt.conf.d/*proxy*; do [ ! -f "$file" ] || cp "$file" "$place/debian/etc/apt/apt.conf.d/"; done
if ls "$place"/debian/etc/ssl/certs/* >/dev/null 2>&1; then
  echo "there are certificates: this tries nothing" >&2
  exit 1
fi
# A static program that loads this service's library crashes.
printf 'passwd: files\ngroup: files\nhosts: myhostname dns files\n' >"$place/debian/etc/nsswitch.conf"
home=$place/debian/home/user
install -d -o "$user" -g "$user" "$home"
install -m 644 "$archive" "$home"

# What docs/install.md says, to the letter.
commands=$(sed -n '/^tar -xzf/,/^```$/p' "$root/docs/install.md" | grep -v '^```$')
[ "$(wc -l <<<"$commands")" = 3 ] || { echo "docs/install.md does not have the three commands" >&2; exit 1; }
commands=$(sed -E "s/sre-[0-9.]+-x86_64-unknown-linux-gnu/$name/g" <<<"$commands")
echo "$commands"
environment=(HOME=/home/user PATH=/usr/bin:/bin LANG=C.UTF-8)
for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [ -z "${!variable:-}" ] || environment+=("$variable=${!variable}")
done
inside "$place/debian" "$user" env -i "${environment[@]}" sh -ec "cd
$commands
./sre down"
echo "the archive works where nothing of this machine is"
