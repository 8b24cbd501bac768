#!/usr/bin/env bash
# promtool and Prometheus 2.42.0 (Debian 12): `test rules` evaluates each group once per `evaluation_interval` of the test, also
# a group that has an `interval` of its own: a test proves that an alert fires at a time when the server cannot have it yet.
# Guess: a group's own `interval` goes before the global one in the test, as it does in the server (the documentation of unit
# tests says how often rules are evaluated, and does not name the interval of a group).
# Seen: the test passes with the alert firing 2 s after the fault; the server with the same file has it after 15 s or more.
# The same in 3.15.0.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1; dpkg -x prometheus_*.deb .

# `for: 1s` needs a second evaluation, which comes 15 s after the first.
cat >rules.yml <<'Y'
groups: [{name: shop, interval: 15s, rules: [{alert: ShopIsDown, expr: up == 0, for: 1s}]}]
Y
cat >test.yml <<'Y'
rule_files: [rules.yml]
evaluation_interval: 1s
tests:
  - interval: 1s
    input_series: [{series: 'up{job="shop"}', values: '0x60'}]
    alert_rule_test: [{eval_time: 2s, alertname: ShopIsDown, exp_alerts: [{exp_labels: {job: shop}}]}]
Y
cat >prometheus.yml <<'Y'
global: {evaluation_interval: 1s, scrape_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: shop, static_configs: [{targets: ["127.0.0.1:19641"]}]}]
Y
code=0; usr/bin/promtool test rules test.yml >out 2>&1 || code=$?; tail -1 out
usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19643 >log 2>&1 & pids+=($!)
# The time of the first sample of an expression, in seconds; nothing where there is none.
first() { curl -s --get http://127.0.0.1:19643/api/v1/query --data-urlencode "query=min_over_time(timestamp($1)[5m:1s])" | grep -o '"value":.*"[0-9.]*"' | grep -o '[0-9.]*"$' | cut -d. -f1 | tr -d '"' || true; }
for _ in $(seq 70); do [ "$(first 'ALERTS{alertstate="firing"}')" ] && break; sleep 1; done
seconds=$(($(first 'ALERTS{alertstate="firing"}') - $(first 'up == 0')))
echo "test: exit $code, fires within 2 s · server: fires $seconds s after the first failed scrape"
[ "$code" = 0 ] && [ "$seconds" -ge 14 ]
