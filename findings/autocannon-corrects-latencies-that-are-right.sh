#!/usr/bin/env bash
# autocannon 9.0.0 (npm): with a rate (`-R 100`) and enough connections, latencies are told that no answer had: each answer
# takes 200 ms or more, and the median told lies below. For each answer autocannon adds one latency for each of its milliseconds
# (204, 203, … 1), as if a request had been due each millisecond, whatever the rate is.
# Guess: the correction for coordinated omission, which is on by default with a rate, adds nothing where the rate is met, and
# never makes latencies smaller (the help speaks of a rate that cannot be met, and advises against --ignoreCoordinatedOmission).
# Seen: 400 answers, tens of thousands of latencies, 2.5 % of them below 50 ms (11 ms in one run); with -C as many latencies
# as answers, and none is below 200 ms.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
npm install --silent --no-audit --no-fund --prefix "$work" autocannon@9.0.0 >/dev/null 2>&1

echo 'require("http").createServer((request, response) => setTimeout(() => response.end("ok"), 205)).listen(19701, "127.0.0.1")' >slow.js
node slow.js & pids+=($!)
for _ in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/19701) 2>/dev/null && break; sleep 0.1; done
run() { timeout 50 node node_modules/autocannon/autocannon.js --json -c 50 -R 100 -d 4 "$@" http://127.0.0.1:19701/ 2>/dev/null; }
run >default; run -C >without
node -e '
const [told, without] = ["default", "without"].map((file) => JSON.parse(require("fs").readFileSync(file)))
for (const r of [told, without]) console.log(`${r.requests.total} answers · ${r.latency.totalCount} latencies · 2.5 %: ${r.latency.p2_5} ms · median ${r.latency.p50} ms`)
const made = told.latency.totalCount > 5 * told.requests.total && told.latency.p2_5 < 50
const right = without.latency.totalCount === without.requests.total && without.latency.p2_5 >= 200
process.exit(made && right && told.errors === 0 ? 0 : 1)'
