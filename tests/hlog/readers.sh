#!/usr/bin/env bash
# Reads an HdrHistogram log with the libraries of five languages, each of which prints what it read, and fails where one of
# them read something else.   tests/hlog/readers.sh LATENCY.hlog
#
# Each prints a line for each interval: its tag (`-` without one), count, and the values at p50, p90, p99 and p100, in
# microseconds. Python and Go take the rank ⌊p/100 · n + ½⌋, the others ⌈p/100 · n⌉: they may tell the neighbouring value, so
# that percentiles are compared by both ranks, which Rust prints (the second in the columns behind).
#
# Needs cargo, python3, java with mvn, node with npm, go; libraries come from their registries, into the cache.
set -euo pipefail
log=$(readlink -f "$1")
here=$(dirname "$(readlink -f "$0")")
work=${XDG_CACHE_HOME:-$HOME/.cache}/sre-hlog
mkdir -p "$work"

read_rust() { CARGO_TARGET_DIR=$work/rust cargo run -q --manifest-path "$here/rust/Cargo.toml" -- "$log"; }

read_python() {
    [ -x "$work/python/bin/python" ] || { python3 -m venv "$work/python" && "$work/python/bin/pip" install -q hdrhistogram==0.10.8; }
    "$work/python/bin/python" "$here/read.py" "$log"
}

read_javascript() {
    mkdir -p "$work/javascript" && cp "$here/read.js" "$work/javascript"
    (cd "$work/javascript" && { [ -d node_modules/hdr-histogram-js ] || npm install --silent --no-fund --no-audit hdr-histogram-js@3.0.1 >/dev/null; } && node read.js "$log")
}

read_java() {
    local jar=$work/java/HdrHistogram-2.2.2.jar
    [ -e "$jar" ] || mvn -q dependency:copy -Dartifact=org.hdrhistogram:HdrHistogram:2.2.2 -DoutputDirectory="$work/java"
    java -cp "$jar" "$here/java/Read.java" "$log"
}

read_go() {
    mkdir -p "$work/go" && cp "$here"/go/* "$work/go"
    (cd "$work/go" && go mod download -x 2>/dev/null; go run -mod=mod . "$log")
}

for language in rust python javascript java go; do
    "read_$language" | sort > "$work/$language.txt"
done
exec python3 "$here/compare.py" "$work"
