#!/usr/bin/env bash
# VictoriaMetrics 1.79.5 (Debian 12): `up` is 1 for a target that answers 200 with an HTML page (an error page, a login).
# Guess: a page without one sample that can be read is a failed scrape, up 0, as in Prometheus.
# Seen: up 1, scrape_samples_scraped 0.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q victoria-metrics=1.79.5+ds1-2+b5 prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" .; done

cat >page.py <<'P'
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><html><body><h1>Please log in</h1></body></html>\n"
        self.send_response(200); self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 19471), Page).serve_forever()
P
cat >scrape.yml <<'Y'
scrape_configs: [{job_name: shop, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:19471"]}]}]
Y
python3 page.py & pids+=($!)
vm=$(ls usr/bin/victoria-metrics* | head -1)
"$vm" -promscrape.config=scrape.yml -storageDataPath=vm -httpListenAddr=127.0.0.1:19470 >vm.log 2>&1 & pids+=($!)
usr/bin/prometheus --config.file=scrape.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19472 >log 2>&1 & pids+=($!)
ask() { curl -s --get "http://127.0.0.1:$1/api/v1/query" --data-urlencode "query=$2" --data nocache=1 | python3 -c 'import json,sys; r=json.load(sys.stdin)["data"]["result"]; print(r[0]["value"][1] if r else "none")' 2>/dev/null || echo none; }
settled() { for _ in $(seq 300); do value=$(ask "$1" "$2"); [ "$value" != none ] && { echo "$value"; return; }; sleep 0.2; done; echo none; }
victoria=$(settled 19470 'up{job="shop"}') samples=$(settled 19470 'scrape_samples_scraped{job="shop"}') prometheus=$(settled 19472 'up{job="shop"}')
echo "VictoriaMetrics: up $victoria, samples $samples · Prometheus 2.42: up $prometheus"
[ "$victoria" = 1 ] && [ "$samples" = 0 ] && [ "$prometheus" = 0 ]
