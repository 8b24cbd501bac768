#!/usr/bin/env bash
# autocannon 8.0.0 (npm): a server that sends `103 Early Hints` before each `200` is told with half its answers filed under
# 1xx; a run of `--amount 100` is over after 50 requests have been answered.
# Guess: an informational answer is not counted; 100 requests are 100 answers 200.
# Seen: total 100 = 50 × 1xx + 50 × 2xx, errors 0, non2xx 50, exit 0.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
npm install --silent --no-audit --no-fund --prefix "$work" autocannon@8.0.0 >/dev/null 2>&1

cat >hints.js <<'J'
require("http").createServer((request, response) => {
  response.writeEarlyHints({ link: "</a.css>; rel=preload" });
  response.end("ok");
}).listen(19501, "127.0.0.1");
J
node hints.js & pids+=($!)
for _ in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/19501) 2>/dev/null && break; sleep 0.1; done
code=0; timeout 60 node node_modules/autocannon/autocannon.js --json --amount 100 --connections 5 http://127.0.0.1:19501/ >out.json 2>err || code=$?
node -e 'const r=JSON.parse(require("fs").readFileSync("out.json")); console.log(`exit '"$code"' · total ${r.requests.total} · 1xx ${r["1xx"]} · 2xx ${r["2xx"]} · errors ${r.errors}`); process.exit(r.requests.total===100 && r["1xx"]===50 && r["2xx"]===50 && r.errors===0 ? 0 : 1)'
[ "$code" = 0 ]
