#!/usr/bin/env bash
# Kills or fails `sre` at its n-th system call of a kind, for every n until it comes to its end, in a lab on this machine;
# then one `sre heal` and one `sre up`. Invariant: everything is as before.
#
# Usage: crash-points.sh [STEP]   with STEP 7 every seventh call is tried. Needs strace (6.0 or newer).
set -uo pipefail
step=${1:-1}
sre=$(realpath "${SRE:-$(dirname "$0")/../target/release/sre}")
command -v strace >/dev/null || { echo "SKIPPED: strace is not on PATH" >&2; exit 0; }
folder=$(mktemp -d)
cd "$folder" || exit 1
export XDG_STATE_HOME=$folder/state
trap '"$sre" down --target local >/dev/null 2>&1; rm -rf "$folder"' EXIT

mkdir -p stacks/crash scenarios
cat >stacks/crash/stack.yaml <<STACK
name: crash
parameters: {replicas: {description: How many, default: 1}}
counter: {metric: app_request_count_total, job: crash}
local:
  service:
    name: crash
    replicas: \${replicas}
    command: ["{sre}", app, --listen, "{listen}", --admin, "{admin}", --replica, "crash-{replica}"]
    ready: /health/readiness
  scrape_interval: 1s
  evaluation_interval: 1s
  group_wait: 100ms
  group_interval: 1s
STACK
cat >scenarios/crash.yaml <<SCENARIO
name: crash
stack: crash
load: {arrival-rate: {phases: [{rate: 5/s, duration: 600ms}]}}
requests: {list-users: {path: /api/users}}
faults: [{fault: pause, at: 100ms, for: 200ms, replicas: [0]}]
SCENARIO

tried=0 killed=0 wrong=0
fail() {
  wrong=$((wrong + 1))
  echo "WRONG: $*" >&2
}

# Everything is as before: healthy, no entry, nobody at work, each process once, none of them paused.
whole() {
  local left
  left=$(find .sre/journal .sre/jobs .sre/busy -maxdepth 1 -name '*.json' 2>/dev/null | wc -l)
  [ "$left" = 0 ] || fail "$1: $left entries are left"
  "$sre" status >status.txt 2>&1 || fail "$1: $(cat status.txt)"
  local processes
  processes=$(grep -lsz "^SRE_LAB=$folder/.sre$" /proc/[0-9]*/environ 2>/dev/null | wc -l)
  [ "$processes" = "$expected" ] || fail "$1: $processes processes, and not $expected"
}

# Tries one command with one way to fail at each call of one kind.
points() {
  local name=$1 calls=$2 way=$3
  shift 3
  local n=1
  while :; do
    case $name in
      up) "$sre" down >/dev/null 2>&1 ;;
      heal) leave_behind ;;
    esac
    # Detached from what it starts: only sre itself fails.
    timeout 120 strace -f --detach-on=execve -qq -o trace -e trace="$calls" -e inject="$calls:$way:when=$n" \
      "$sre" "$@" >out.txt 2>&1
    local code=$?
    # What the system did to it, or that it came to its end before.
    [ $code = 137 ] || grep -q INJECTED trace || break
    tried=$((tried + 1))
    [ $code = 137 ] && killed=$((killed + 1))
    # A wake-up of the runtime is a write to an eventfd, which no disk in the world fails: it stops there, and what it leaves
    # behind has to be mended all the same.
    ! grep -q "failed to wake I/O driver" out.txt && grep -q "panicked at" out.txt && fail "$name, $calls $way at $n: $(cat out.txt)"
    "$sre" heal >heal.txt 2>&1 || fail "$name, $calls $way at $n: heal: $(cat heal.txt)"
    if ! "$sre" up crash --target local >up.txt 2>&1; then
      fail "$name, $calls $way at $n: up: $(cat up.txt)"
    fi
    whole "$name, $calls $way at $n"
    n=$((n + step))
  done
  echo "$name: $calls $way: $(((n - 1) / step)) points"
}

# A paused replica whose sre was killed.
leave_behind() {
  "$sre" fault inject pause --replicas 0 --for 1h >/dev/null 2>&1 &
  local child=$!
  until grep -qs '"injected"' .sre/journal/*.json; do kill -0 $child 2>/dev/null || return; done
  kill -9 $child
  wait $child 2>/dev/null
}

"$sre" up crash --target local --yes >up.txt 2>&1 || { cat up.txt >&2; exit 1; }
expected=$(grep -lsz "^SRE_LAB=$folder/.sre$" /proc/[0-9]*/environ 2>/dev/null | wc -l)
for calls in write rename,renameat,renameat2 fsync openat unlink,unlinkat mkdir,mkdirat; do
  for way in signal=KILL error=ENOSPC error=EIO; do
    # An unlink that fails for want of space does not exist.
    case "$calls $way" in "unlink"*ENOSPC) continue ;; esac
    points fault "$calls" $way fault inject pause --replicas 0 --for 100ms
    points heal "$calls" $way heal
    points load "$calls" $way load crash
    points down "$calls" $way down
    points up "$calls" $way up crash --target local
  done
done
echo "$tried points tried, $killed kills, $wrong wrong"
[ "$wrong" = 0 ]
