#!/usr/bin/env bash
# run.sh SECONDS [TARGET...]: fuzzes every target, or these, all of them together for so long; prints what was tried. What
# breaks a promise is left in fuzz/artifacts/TARGET/, and is the exit code 1.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
seconds=${1:?seconds}
shift
corpora=fuzz/corpus
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(ls "$corpora")

RUSTC_WRAPPER=$PWD/fuzz/rustc.sh cargo build --manifest-path fuzz/Cargo.toml --target-dir target --locked
program=target/debug/all

each=$(((seconds + ${#targets[@]} - 1) / ${#targets[@]}))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
total=0 broken=0
printf '%-14s %12s %10s  %s\n' target inputs inputs/s result
for target in "${targets[@]}"; do
  mkdir -p "$work/$target" "fuzz/artifacts/$target"
  code=0
  # What is new stays out of the repository: its corpora are small on purpose.
  SRE_FUZZ_TARGET=$target "$program" -max_total_time="$each" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="fuzz/artifacts/$target/" "$work/$target" "$corpora/$target" 2>"$work/log" || code=$?
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$work/log")
  result=ok
  if [ "$code" != 0 ]; then
    result=$(grep -m1 -E "panicked at|ERROR: libFuzzer" "$work/log" || echo "exit code $code")
    cp "$work/log" "fuzz/artifacts/$target/log"
    broken=1
  fi
  printf '%-14s %12s %10s  %s\n' "$target" "${inputs:-0}" "${rate:-0}" "$result"
  total=$((total + ${inputs:-0}))
done
printf '%-14s %12s\n' all "$total"
exit "$broken"
