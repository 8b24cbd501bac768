#!/usr/bin/env bash
# VictoriaMetrics 1.79.5 (Debian 12): an instant query for "now" answers with the sample of 30 s ago and stamps it with the
# time that was asked for, so that its age cannot be seen; with `nocache=1` the newest one comes.
# Guess: as in Prometheus, the newest sample within the look-back, whose time `timestamp()` tells.
# Seen: a counter that rises by one a second is about 30 behind; `timestamp()` of it is just as late.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q victoria-metrics=1.79.5+ds1-2+b5 >/dev/null 2>&1; dpkg -x victoria-metrics_*.deb .

cat >clock.py <<'P'
import http.server, time
class Clock(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"clock_seconds_total %d\n" % time.time()
        self.send_response(200); self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 19531), Clock).serve_forever()
P
cat >scrape.yml <<'Y'
scrape_configs: [{job_name: clock, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:19531"]}]}]
Y
python3 clock.py & pids+=($!)
"$(ls "$work"/usr/bin/victoria-metrics* | head -1)" -promscrape.config=scrape.yml -storageDataPath=vm -httpListenAddr=127.0.0.1:19530 >vm.log 2>&1 & pids+=($!)
ask() { curl -s --get "http://127.0.0.1:19530/api/v1/query" --data-urlencode "query=$1" ${2:+--data "$2"} | python3 -c 'import json,sys; r=json.load(sys.stdin)["data"]["result"]; print(int(float(r[0]["value"][1])) if r else "none")' 2>/dev/null || echo none; }
for _ in $(seq 110); do [ "$(ask 'count_over_time(clock_seconds_total[5m])' nocache=1)" != none ] && [ "$(ask 'count_over_time(clock_seconds_total[5m])' nocache=1)" -gt 45 ] && break; sleep 1; done
plain=$(ask clock_seconds_total); fresh=$(ask clock_seconds_total nocache=1); now=$(date +%s)
echo "plain: $((now - plain)) s behind · nocache=1: $((now - fresh)) s behind"
[ $((now - plain)) -ge 20 ] && [ $((now - fresh)) -le 8 ]
