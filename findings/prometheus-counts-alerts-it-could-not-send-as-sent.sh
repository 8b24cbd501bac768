#!/usr/bin/env bash
# Prometheus 2.42.0 (Debian 12): while Alertmanager refuses every request, prometheus_notifications_sent_total counts each
# alert of it, and prometheus_notifications_errors_total one per request of up to 64 alerts. Their ratio, which the usual
# alerts on the sending of alerts are made of (above 1 % or 3 %), says 1.6 % where not one alert arrived.
# Guess: sent counts what was sent, or at the least both count the same thing, so that their ratio is 1 (the help texts are
# "Total number of alerts sent." and "Total number of errors sending alert notifications.").
# Seen: 640 alerts or more in requests of 64, all of them refused with 500: errors / sent is 0.016.
# 3.15.0 counts alerts in both, and as sent none.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1; dpkg -x prometheus_*.deb .

cat >refuse.py <<'P'
import http.server, json
class Refuse(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "".join('shop_up{shop="%d"} 0\n' % shop for shop in range(64)).encode()
        self.send_response(200); self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_POST(self):
        alerts = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open("refused", "a") as file: file.write("%d\n" % len(alerts))
        self.send_response(500); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 19661), Refuse).serve_forever()
P
cat >rules.yml <<'Y'
groups: [{name: shops, rules: [{alert: ShopIsDown, expr: shop_up == 0}]}]
Y
cat >prometheus.yml <<'Y'
global: {evaluation_interval: 2s, scrape_interval: 2s}
rule_files: [rules.yml]
scrape_configs: [{job_name: shop, static_configs: [{targets: ["127.0.0.1:19661"]}]}]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:19661"]}]}]}
Y
touch refused; python3 refuse.py & pids+=($!)
usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19663 --rules.alert.resend-delay=1s >log 2>&1 & pids+=($!)
value() { curl -s http://127.0.0.1:19663/metrics | awk -v name="prometheus_notifications_$1_total{" 'index($0, name) == 1 {print $2}' || true; }
for _ in $(seq 200); do sent=$(value sent); [ "${sent:-0}" -ge 640 ] && break; sleep 0.3; done
sent=$(value sent) errors=$(value errors) refused=$(awk '{sum += $1} END {print sum + 0}' refused)
python3 -c "print('refused $refused alerts · sent_total $sent · errors_total $errors · ratio %.3f' % ($errors / $sent))"
[ "$sent" -ge 640 ] && [ "$refused" -ge "$sent" ] && [ $((errors * 20)) -lt "$sent" ] && [ "$errors" -ge 5 ]
