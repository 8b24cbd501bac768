#!/usr/bin/env bash
# prom-client 15.1.3 (npm) and Prometheus 2.42.0 (Debian 12): in a cluster the primary sums the counters of the workers that
# live. When one of four workers ends, the sum falls by its part, and Prometheus takes that for a restart from zero:
# `increase` counts all the requests of the three others again, though nobody sent any.
# Guess: the counter of the cluster never falls, as prometheus_client for Python keeps what dead workers have counted (the
# README says of cluster: metrics are aggregated, and nothing of workers that end).
# Seen: 4 × 1000 requests, one worker replaced: increase 3000 or more, with no request at all in that time.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1; dpkg -x prometheus_*.deb .
npm install --silent --no-audit --no-fund --prefix "$work" prom-client@15.1.3 >/dev/null 2>&1

cat >shop.js <<'J'
const cluster = require("cluster"), { AggregatorRegistry, Counter } = require("prom-client")
const registry = new AggregatorRegistry()
if (cluster.isPrimary) {
  for (let i = 0; i < 4; i++) cluster.fork({ SERVED: 1000 })
  process.on("SIGUSR2", () => Object.values(cluster.workers)[0].kill())
  cluster.on("exit", () => cluster.fork({ SERVED: 0 }))
  process.on("SIGTERM", () => { cluster.removeAllListeners("exit"); for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGKILL"); process.exit() })
  require("http").createServer(async (request, response) => {
    try { response.setHeader("content-type", registry.contentType).end(await registry.clusterMetrics()) }
    catch (error) { response.writeHead(500).end(error.message) }
  }).listen(19771, "127.0.0.1")
} else { // what a worker has served; none is served after the start
  new Counter({ name: "shop_requests_total", help: "Requests served." }).inc(Number(process.env.SERVED))
  setInterval(() => {}, 1000)
}
J
cat >prometheus.yml <<'Y'
scrape_configs: [{job_name: shop, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:19771"]}]}]
Y
node shop.js & shop=$!; pids+=("$shop")
for _ in $(seq 100); do curl -sf http://127.0.0.1:19771/ | grep -q '^shop_requests_total 4000' && break; sleep 0.3; done
usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19773 >log 2>&1 & pids+=($!)
ask() { curl -s --get http://127.0.0.1:19773/api/v1/query --data-urlencode "query=$1" | grep -o '"value":.*"[0-9.]*"' | grep -o '[0-9.]*"$' | cut -d. -f1 | tr -d '"' || true; }
settle() { for _ in $(seq 100); do [ "$(ask shop_requests_total)" = "$1" ] && break; sleep 0.3; done; }
settle 4000; sleep 3; before=$(ask 'increase(shop_requests_total[1m])')
kill -USR2 "$shop"; settle 3000; sleep 2; after=$(ask 'increase(shop_requests_total[1m])')
echo "increase before: $before · a worker is replaced: the counter is $(ask shop_requests_total), increase $after"
[ "$before" = 0 ] && [ "$after" -ge 3000 ]
