#!/usr/bin/env bash
# promtool and Prometheus 2.42.0 (Debian 12): `promtool check metrics` finds nothing in a page that has one series twice, with
# two values; Prometheus keeps the first one and drops the second, with up 1 and scrape_samples_scraped 2.
# Guess: the check, whose help says that it looks "for consistency and correctness", names the doubled series, as it names a
# missing HELP; or the scrape fails.
# Seen: exit 0 and no word; up 1, 2 samples told as scraped (and left after relabelling), the stored value is 5, and 7 is lost.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1; dpkg -x prometheus_*.deb .

cat >metrics <<'M'
# HELP shop_orders_total Orders.
# TYPE shop_orders_total counter
shop_orders_total{shop="a"} 5
shop_orders_total{shop="a"} 7
M
code=0; usr/bin/promtool check metrics <metrics >out 2>&1 || code=$?
# Held against itself: it does find what is missing in a page.
lint=0; grep -v HELP metrics | usr/bin/promtool check metrics >lint.out 2>&1 || lint=$?
cat >page.py <<'P'
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open("metrics", "rb").read()
        self.send_response(200); self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 19811), Page).serve_forever()
P
cat >prometheus.yml <<'Y'
scrape_configs: [{job_name: shop, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:19811"]}]}]
Y
python3 page.py & pids+=($!)
usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19813 >log 2>&1 & pids+=($!)
ask() { curl -s --get http://127.0.0.1:19813/api/v1/query --data-urlencode "query=$1" | grep -o '"value":.*"[0-9]*"' | grep -o '[0-9]*"$' | tr -d '"' || true; }
for _ in $(seq 100); do [ "$(ask scrape_samples_scraped)" ] && break; sleep 0.3; done
stored="$(ask up) $(ask scrape_samples_scraped) $(ask scrape_samples_post_metric_relabeling) $(ask shop_orders_total)"
echo "check metrics: exit $code, $(wc -c <out) bytes (without HELP: exit $lint) · up, scraped, after relabelling, value: $stored"
[ "$code" = 0 ] && [ ! -s out ] && [ "$lint" != 0 ] && [ "$stored" = "1 2 2 5" ]
