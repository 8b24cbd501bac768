#!/usr/bin/env bash
# Runs a command of `cargo test` to its end, then each test that failed once more, alone: `tests/again.sh cargo test --locked …`.
# On a busy machine a test that waits for something real may wait in vain. One that fails twice fails the whole, one that passes
# the second time is named as FLAKY: it is to be mended, and hides no other failure meanwhile.
set -euo pipefail
most=6 # failures: more than these are not by chance
[ "${1:-} ${2:-}" = "cargo test" ] || { echo "usage: tests/again.sh cargo test [OPTION…]" >&2; exit 2; }
shift 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT

code=0
cargo test --no-fail-fast "$@" 2>&1 | tee "$log" || code=$?
[ "$code" != 0 ] || exit 0

# A line for each test that failed: its target, as cargo is told it, and its name. A target without one broke off.
failed=$(awk '
  function told() { if (broken && !named) print target "\t"; named = broken = count = 0 }
  /^ +Running unittests src\/lib\.rs/ { told(); target = "--lib"; next }
  /^ +Running unittests src\/main\.rs/ { told(); target = "--bin sre"; next }
  /^ +Running tests\// { told(); name = $2; sub(/^tests\//, "", name); sub(/(\/main)?\.rs$/, "", name); target = "--test " name; next }
  /^ +Doc-tests / { told(); target = "--doc"; next }
  # The last list of this title before the result has nothing but names.
  /^failures:$/ { count = 0; next }
  /^    [^ ]+$/ { names[count++] = $1; next }
  /^test result: FAILED/ { for (i = 0; i < count; i++) print target "\t" names[i]; named = count; next }
  /^error: test failed/ { broken = 1 }
  END { told() }
' "$log")

count=$(grep -c . <<<"$failed" || true)
if [ "$count" = 0 ] || [ "$count" -gt "$most" ] || grep -q $'\t$' <<<"$failed"; then
  printf 'not run again:\n%s\n' "${failed:-nothing that failed has a name}" >&2
  exit "$code"
fi
again=0
while IFS=$'\t' read -r target name; do
  echo "again, alone: $target $name"
  # shellcheck disable=SC2086 # an option and its value
  if cargo test --locked $target -- --exact "$name" --test-threads=1 </dev/null 2>&1 | tee "$log" && grep -q '^test result: ok. 1 passed' "$log"; then
    echo "FLAKY: $target $name failed, and passed alone"
  else
    again=$code
  fi
done <<<"$failed"
exit "$again"
