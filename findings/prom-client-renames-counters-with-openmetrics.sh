#!/usr/bin/env bash
# prom-client 15.1.3 (npm): a registry that is set to OpenMetrics, which its exemplars demand, renames each counter whose name
# lacks "_total": shop_requests becomes shop_requests_total. Rules on the old name find nothing from then on, and do not fire.
# Guess: the content type changes the format alone; names stay, or such a name is refused. The README describes both types of
# registry and exemplars, and no other name.
# Seen: `shop_requests` on the page of the one registry, `shop_requests_total` on that of the other; the gauge keeps its name.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
npm install --silent --no-audit --no-fund --prefix "$work" prom-client@15.1.3 >/dev/null 2>&1

cat >page.js <<'J'
const { Counter, Gauge, Registry } = require("prom-client")
const registry = new Registry(Registry[process.argv[2]])
new Counter({ name: "shop_requests", help: "Requests.", registers: [registry] }).inc()
new Gauge({ name: "shop_queue", help: "Queue.", registers: [registry] }).set(2)
registry.metrics().then(console.log)
J
node page.js PROMETHEUS_CONTENT_TYPE >text; node page.js OPENMETRICS_CONTENT_TYPE >openmetrics
grep -H '^shop_' text openmetrics
grep -q '^shop_requests 1' text && ! grep -q '^shop_requests_total' text
grep -q '^shop_requests_total 1' openmetrics && ! grep -q '^shop_requests 1' openmetrics && grep -q '^shop_queue 2' openmetrics
