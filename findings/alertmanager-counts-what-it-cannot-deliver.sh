#!/usr/bin/env bash
# Alertmanager 0.25.0 (Debian 12): while a receiver answers 500, alertmanager_notifications_total rises by one and
# alertmanager_notifications_failed_total stays 0 until group_interval (5 minutes by default) is over, though each request
# failed: the share of failures, which the usual alert on Alertmanager itself is made of, is 0 for the first minutes.
# Guess: a failed attempt is a failed notification, or a notification under way is not yet counted. The help texts are "The
# total number of attempted notifications." and "The total number of failed notifications."
# Seen: after four refused requests or more: notifications_total 1, failed_total 0; requests_failed_total has them.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus-alertmanager=0.25.0-1+b4 >/dev/null 2>&1; dpkg -x prometheus-alertmanager_*.deb .

cat >refuse.py <<'P'
import http.server
class Refuse(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        with open("refused", "a") as file: file.write("x\n")
        self.send_response(500); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 19681), Refuse).serve_forever()
P
cat >alertmanager.yml <<'Y'
route: {receiver: sink, group_wait: 1s, group_interval: 30s, repeat_interval: 1h}
receivers: [{name: sink, webhook_configs: [{url: "http://127.0.0.1:19681/"}]}]
Y
touch refused; python3 refuse.py & pids+=($!)
# Debian's build reads its templates from /usr/share: a mount namespace shows it the unpacked ones there.
unshare --map-root-user --mount bash -c 'mount --bind "$0/usr/share" /usr/share && exec "$@"' "$work" \
  "$work/usr/bin/prometheus-alertmanager" --config.file=alertmanager.yml --storage.path=data --web.listen-address=127.0.0.1:19683 --cluster.listen-address= >log 2>&1 & pids+=($!)
for _ in $(seq 150); do curl -sf http://127.0.0.1:19683/-/ready >/dev/null && break; sleep 0.2; done
value() { curl -s http://127.0.0.1:19683/metrics | awk -v name="alertmanager_notification$1_total{integration=\"webhook\"" 'index($0, name) == 1 {sum += $2} END {print sum + 0}'; }
curl -sf -H 'content-type: application/json' http://127.0.0.1:19683/api/v2/alerts -d '[{"labels":{"alertname":"ShopIsDown"}}]'
for _ in $(seq 250); do [ "$(wc -l <refused)" -ge 5 ] && break; sleep 0.1; done
early="$(value s) $(value s_failed)" requests=$(value _requests_failed)
echo "after $(wc -l <refused) refused requests: notifications_total, failed_total: $early · requests_failed_total $requests"
for _ in $(seq 80); do [ "$(value s_failed)" -ge 1 ] && break; sleep 0.5; done
late="$(value s) $(value s_failed)"; echo "after group_interval (30 s): $late"
[ "$early" = "1 0" ] && [ "$requests" -ge 4 ] && [ "${late#* }" -ge 1 ]
