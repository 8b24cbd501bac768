#!/usr/bin/env bash
# The main job from the built binary, in a folder of its own: `sre run errors`, so many times in a row.
# Every run must pass with every request accounted for, and nothing may be left behind.
set -euo pipefail
times=${1:-1}
sre=${SRE:-$(cd "$(dirname "$0")/.." && pwd)/target/release/sre}
folder=$(mktemp -d)
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'cd "$folder" && "$sre" down --target local >/dev/null 2>&1; rm -rf "$folder"' EXIT
cd "$folder"
for run in $(seq "$times"); do
  "$sre" run errors --target local --yes -o json >result.json || {
    code=$?
    echo "run $run of $times ended with exit $code" >&2
    "$sre" report >&2 || true
    exit "$code"
  }
  # No parser is needed for what must be there to the letter.
  grep -q '"verdict": "pass"' result.json
  "$sre" report | tail -n 3
done
"$sre" down
if "$sre" status >/dev/null 2>&1; then
  echo "something is still up after sre down" >&2
  exit 1
fi
