#!/usr/bin/env bash
# Alertmanager 0.25.0 (Debian 12): an alert that fires, resolves and fires anew within one group_interval, and then
# resolves, is told as one firing and one resolved notification, the resolved one with the second incident's start.
# Guess: each incident (its own startsAt) is notified as firing and as resolved: four in all, or at the least the start
# times of a pair agree.
# Seen: two notifications; their start times differ.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus-alertmanager=0.25.0-1+b4 >/dev/null 2>&1; dpkg -x prometheus-alertmanager_*.deb .
alertmanager=$work/usr/bin/prometheus-alertmanager
"$alertmanager" --version 2>&1 | head -1

cat >sink.py <<'P'
import http.server, json
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open("told", "a") as file:
            for alert in told["alerts"]: file.write("%s %s\n" % (alert["status"], alert["startsAt"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 19481), Sink).serve_forever()
P
# Debian's build reads its templates from /usr/share: a mount namespace shows it the unpacked ones there.
cat >alertmanager.yml <<'Y'
route: {receiver: sink, group_by: [alertname], group_wait: 1s, group_interval: 8s, repeat_interval: 1h}
receivers: [{name: sink, webhook_configs: [{url: "http://127.0.0.1:19481/", send_resolved: true}]}]
Y
python3 sink.py & pids+=($!)
unshare --map-root-user --mount bash -c 'mount --bind "$0/usr/share" /usr/share && exec "$@"' "$work" \
  "$alertmanager" --config.file=alertmanager.yml --storage.path=data --web.listen-address=127.0.0.1:19480 --cluster.listen-address= >log 2>&1 & pids+=($!)
ready() { for _ in $(seq 150); do curl -sf http://127.0.0.1:19480/-/ready >/dev/null && return; sleep 0.2; done; tail log; exit 1; }
ready
now() { date -u +%Y-%m-%dT%H:%M:%SZ; }
later() { date -u -d '+10 minutes' +%Y-%m-%dT%H:%M:%SZ; }
post() { curl -sf -H 'content-type: application/json' http://127.0.0.1:19480/api/v2/alerts -d "[{\"labels\":{\"alertname\":\"ShopIsDown\"},\"startsAt\":\"$1\",\"endsAt\":\"$2\"}]"; }
count() { [ -f told ] && wc -l <told || echo 0; }
first=$(now); post "$first" "$(later)"
for _ in $(seq 100); do [ "$(count)" = 1 ] && break; sleep 0.1; done
sleep 1.1; post "$first" "$(now)"            # the first incident ends …
sleep 1.1; second=$(now); post "$second" "$(later)"  # … the second begins, and ends, all within group_interval
sleep 1.1; post "$second" "$(now)"
for _ in $(seq 200); do [ "$(count)" -ge 2 ] && break; sleep 0.1; done
sleep 9   # one more group_interval: nothing else may come
cat told
firing=$(grep -c '^firing' told) resolved=$(grep -c '^resolved' told)
echo "first incident $first · second $second · $firing firing, $resolved resolved"
[ "$firing" = 1 ] && [ "$resolved" = 1 ] && grep -q "^firing $first" told && grep -q "^resolved $second" told
