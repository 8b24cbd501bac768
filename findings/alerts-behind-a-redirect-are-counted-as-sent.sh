#!/usr/bin/env bash
# Prometheus 2.42.0 and Alertmanager 0.25.0 (Debian 12): where an address answers `301 Moved Permanently` (a proxy that moves
# http to https), the POST is followed as a GET without its body. Alertmanager answers that GET 200 with its list of alerts, a
# web hook's address its page: no alert arrives at either, and both count the alert as sent and no error.
# Guess: the POST is sent anew, as with 308, or the redirect is an error. The documentation of `follow_redirects` (on by
# default) says that redirects are followed, not that the alert stays behind.
# Seen: sent_total 2 or more, errors_total 0, Alertmanager has received 0; notifications_total 1, failed 0, the hook got a GET
# of 0 bytes. With 308 both arrive. The same in Prometheus 3.15.0 and Alertmanager 0.31.1.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 prometheus-alertmanager=0.25.0-1+b4 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" .; done

# 19601 and 19605 move to Alertmanager (19603) with 301 and 308; 19607 and 19609 to the hook (19611) likewise.
cat >move.py <<'P'
import http.server, threading
def serve(port, code, to=None):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            size = len(self.rfile.read(int(self.headers.get("content-length") or 0)))
            if not to:
                with open("hook", "a") as file: file.write("%s %s %d\n" % (self.path, self.command, size))
            self.send_response(code)
            if to: self.send_header("location", "http://127.0.0.1:%d%s" % (to, self.path))
            self.send_header("content-length", "0"); self.end_headers()
        do_GET = do_POST
        def log_message(self, *_): pass
    threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever).start()
for port, code, to in (19601, 301, 19603), (19605, 308, 19603), (19607, 301, 19611), (19609, 308, 19611), (19611, 200, None): serve(port, code, to)
P
cat >alertmanager.yml <<'Y'
route:
  {receiver: moved, group_wait: 1s, group_interval: 2s, routes: [{matchers: [alertname="Kept"], receiver: kept}]}
receivers:
  - {name: moved, webhook_configs: [{url: "http://127.0.0.1:19607/moved"}]}
  - {name: kept, webhook_configs: [{url: "http://127.0.0.1:19609/kept"}]}
Y
cat >rules.yml <<'Y'
groups: [{name: shop, rules: [{alert: ShopIsDown, expr: vector(1)}]}]
Y
cat >prometheus.yml <<'Y'
global: {evaluation_interval: 1s}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:19601"]}]}]}
Y
sed 's/19601/19605/' prometheus.yml >kept.yml
python3 move.py & pids+=($!)
# Debian's build reads its templates from /usr/share: a mount namespace shows it the unpacked ones there.
unshare --map-root-user --mount bash -c 'mount --bind "$0/usr/share" /usr/share && exec "$@"' "$work" \
  usr/bin/prometheus-alertmanager --config.file=alertmanager.yml --storage.path=am --web.listen-address=127.0.0.1:19603 --cluster.listen-address= >am.log 2>&1 & pids+=($!)
for _ in $(seq 150); do curl -sf http://127.0.0.1:19603/-/ready >/dev/null && break; sleep 0.2; done
run() { usr/bin/prometheus --config.file="$1" --storage.tsdb.path="$1.d" --web.listen-address="127.0.0.1:$2" --rules.alert.resend-delay=1s >"$1.log" 2>&1 & pids+=($!); }
value() { curl -s "http://127.0.0.1:$1/metrics" | awk -v name="$2" 'index($0, name) == 1 {sum += $2} END {print sum + 0}'; }
until_more() { for _ in $(seq 150); do [ "$(value "$1" "$2")" -ge "$3" ] && return; sleep 0.2; done; }
sent='prometheus_notifications_sent_total{' errors='prometheus_notifications_errors_total{' received='alertmanager_alerts_received_total{'
notified='alertmanager_notifications_total{integration="webhook"}' failed='alertmanager_notifications_failed_total{integration="webhook"}'

run prometheus.yml 19613; until_more 19613 "$sent" 2; sleep 1
sent_moved=$(value 19613 "$sent") errors_moved=$(value 19613 "$errors") received_moved=$(value 19603 "$received")
echo "Prometheus, 301: sent $sent_moved, errors $errors_moved · Alertmanager: received $received_moved"
run kept.yml 19615; until_more 19603 "$received" 1; received_kept=$(value 19603 "$received")
echo "Prometheus, 308: Alertmanager received $received_kept"
curl -sf -H 'content-type: application/json' http://127.0.0.1:19603/api/v2/alerts -d '[{"labels":{"alertname":"Kept"}}]'
until_more 19603 "$notified" 2; sleep 1
echo "Alertmanager: notified $(value 19603 "$notified"), failed $(value 19603 "$failed") · the hook saw:"; cat hook
[ "$sent_moved" -ge 2 ] && [ "$errors_moved" = 0 ] && [ "$received_moved" = 0 ] && [ "$received_kept" -ge 1 ]
[ "$(value 19603 "$failed")" = 0 ] && grep -q '^/moved GET 0$' hook && ! grep -q '^/moved POST' hook && grep -Eq '^/kept POST [1-9]' hook
