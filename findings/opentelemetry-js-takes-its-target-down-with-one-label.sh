#!/usr/bin/env bash
# @opentelemetry/exporter-prometheus 0.223.0 (npm) and Prometheus 2.42.0 (Debian 12): one measurement with two attributes that
# differ in a dot (user.id and user_id: two conventions at work in one process) is written with the same label twice, and
# Prometheus refuses the whole page: up 0, and no sample of any metric of the process gets in until its end.
# Guess: the values are joined as the OpenTelemetry specification demands of exporters ("a;b"), or the one series is left out.
# Seen: orders_total{user_id="7",user_id="seven"} on the page; before it up 1, after it up 0, "label name is not unique".
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1; dpkg -x prometheus_*.deb .
npm install --silent --no-audit --no-fund --prefix "$work" @opentelemetry/sdk-metrics@2.12.1 @opentelemetry/exporter-prometheus@0.223.0 >/dev/null 2>&1

cat >shop.js <<'J'
const { MeterProvider } = require("@opentelemetry/sdk-metrics")
const { PrometheusExporter } = require("@opentelemetry/exporter-prometheus")
const meter = new MeterProvider({ readers: [new PrometheusExporter({ host: "127.0.0.1", port: 19761 })] }).getMeter("shop")
meter.createCounter("visits").add(1)
setInterval(() => {}, 1000)
// The second spelling comes while the process runs.
process.on("SIGUSR2", () => meter.createCounter("orders").add(1, { "user.id": "7", user_id: "seven" }))
J
cat >prometheus.yml <<'Y'
scrape_configs: [{job_name: shop, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:19761"]}]}]
Y
node shop.js & shop=$!; pids+=("$shop")
usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19763 >log 2>&1 & pids+=($!)
ask() { curl -s --get http://127.0.0.1:19763/api/v1/query --data-urlencode "query=$1" | grep -o '"value":.*"[0-9]*"' | grep -o '[0-9]*"$' | tr -d '"' || true; }
settle() { for _ in $(seq 100); do [ "$(ask up)" = "$1" ] && break; sleep 0.3; done; }
settle 1; before=$(ask up); kill -USR2 "$shop"; settle 0; after=$(ask up)
curl -s http://127.0.0.1:19761/metrics | grep '^orders_total' | tee order
curl -s http://127.0.0.1:19763/api/v1/targets | grep -o '"lastError":"[^,]*' | tee error
echo "up before: $before · after: $after"
[ "$before" = 1 ] && [ "$after" = 0 ] && grep -q '^orders_total{user_id="7",user_id="seven"' order && grep -q 'is not unique' error
