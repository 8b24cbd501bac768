#!/usr/bin/env bash
# Alertmanager 0.25.0 (Debian 12): an alert is told, is silenced, and ends within the silence. Its end is never told (an open
# wish of 2016, prometheus/alertmanager#226), and, much worse, neither is the next incident of the same labels, though the
# silence is over: the log of notifications still has the alert as told, until repeat_interval (4 h by default) has passed.
# Guess: with `send_resolved: true` the end is told, at the latest after the silence; a new incident after the silence is told
# as any other. The documentation says that a silence mutes alerts for a given time.
# Seen: of two incidents, with a silence over the end of the first, the first start and the last end are told: neither the end
# of the first nor, while it lasts, the second. Without a silence all four are. The same in 0.31.1.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus-alertmanager=0.25.0-1+b4 >/dev/null 2>&1; dpkg -x prometheus-alertmanager_*.deb .

cat >sink.py <<'P'
import http.server, json
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open("told", "a") as file:
            for alert in told["alerts"]: file.write("%s %s\n" % (alert["labels"]["shop"], alert["status"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 19671), Sink).serve_forever()
P
cat >alertmanager.yml <<'Y'
route: {receiver: sink, group_by: [shop], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}
receivers: [{name: sink, webhook_configs: [{url: "http://127.0.0.1:19671/", send_resolved: true}]}]
Y
touch told; python3 sink.py & pids+=($!)
# Debian's build reads its templates from /usr/share: a mount namespace shows it the unpacked ones there.
unshare --map-root-user --mount bash -c 'mount --bind "$0/usr/share" /usr/share && exec "$@"' "$work" \
  "$work/usr/bin/prometheus-alertmanager" --config.file=alertmanager.yml --storage.path=data --web.listen-address=127.0.0.1:19673 --cluster.listen-address= >log 2>&1 & pids+=($!)
for _ in $(seq 150); do curl -sf http://127.0.0.1:19673/-/ready >/dev/null && break; sleep 0.2; done
amtool() { usr/bin/amtool --alertmanager.url=http://127.0.0.1:19673 "$@"; }
now() { date -u +%Y-%m-%dT%H:%M:%S.%NZ; }
post() { curl -sf -H 'content-type: application/json' http://127.0.0.1:19673/api/v2/alerts -d "[{\"labels\":{\"alertname\":\"ShopIsDown\",\"shop\":\"$1\"},\"startsAt\":\"$start\",\"endsAt\":\"$2\"}]"; }
told() { for _ in $(seq 150); do grep -q "^$1$" told && return; sleep 0.1; done; }
later=$(date -u -d '+10 minutes' +%Y-%m-%dT%H:%M:%SZ)
start=$(now); post silenced "$later"; post plain "$later"; told 'silenced firing'; told 'plain firing'
silence=$(amtool silence add shop=silenced --comment='known' --author=ops --duration=1h)
sleep 3; end=$(now); post silenced "$end"; post plain "$end"
told 'plain resolved'; sleep 3   # a whole group_interval and more within the silence
amtool silence expire "$silence"; sleep 5
echo -- >>told   # the second incident
start=$(now); post silenced "$later"; post plain "$later"; sleep 9   # group_wait, and four group_intervals
grep -q '^silenced' <(sed '1,/^--/d' told) && { cat told; exit 1; }   # nothing of it while it lasts
end=$(now); post silenced "$end"; post plain "$end"; sleep 5
cat told
shop() { grep -E "^(--|$1)" told | tr '\n' ,; }
[ "$(shop plain)" = "plain firing,plain resolved,--,plain firing,plain resolved," ]
[ "$(shop silenced)" = "silenced firing,--,silenced resolved," ]
