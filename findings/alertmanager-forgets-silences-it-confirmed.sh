#!/usr/bin/env bash
# Alertmanager 0.25.0 (Debian 12): a silence that the API confirmed with its id is gone when Alertmanager ends without its
# own shutdown (out of memory, a node lost): silences and the log of notifications are written each 15 minutes and at a stop
# in order. The alert that was told before, and silenced since, is told again.
# Guess: what the API confirms is on disk, as a sample in Prometheus' write-ahead log is; --storage.path is set. The manual's
# page on high availability does not speak of it; the help of --data.maintenance-interval names a snapshot.
# Seen: one silence before, none after SIGKILL and a start on the same folder; the same alert is told a second time.
# The same in 0.31.1.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait 2>/dev/null; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus-alertmanager=0.25.0-1+b4 >/dev/null 2>&1; dpkg -x prometheus-alertmanager_*.deb .

cat >sink.py <<'P'
import http.server, json
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open("told", "a") as file:
            for alert in told["alerts"]: file.write("%s %s\n" % (alert["labels"]["alertname"], alert["status"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 19651), Sink).serve_forever()
P
cat >alertmanager.yml <<'Y'
route: {receiver: sink, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 4h}
receivers: [{name: sink, webhook_configs: [{url: "http://127.0.0.1:19651/", send_resolved: true}]}]
Y
python3 sink.py & pids+=($!); touch told
# Debian's build reads its templates from /usr/share: a mount namespace shows it the unpacked ones there.
start() {
  unshare --map-root-user --mount bash -c 'mount --bind "$0/usr/share" /usr/share && exec "$@"' "$work" \
    "$work/usr/bin/prometheus-alertmanager" --config.file=alertmanager.yml --storage.path=data --web.listen-address=127.0.0.1:19653 --cluster.listen-address= >>log 2>&1 & alertmanager=$!; pids+=("$alertmanager")
  for _ in $(seq 150); do curl -sf http://127.0.0.1:19653/-/ready >/dev/null && return; sleep 0.2; done
}
amtool() { usr/bin/amtool --alertmanager.url=http://127.0.0.1:19653 "$@"; }
alert() { curl -sf -H 'content-type: application/json' http://127.0.0.1:19653/api/v2/alerts -d '[{"labels":{"alertname":"ShopIsDown"}}]'; }
silences() { amtool silence query --quiet | grep -c . || true; }
told() { for _ in $(seq 100); do [ "$(wc -l <told)" -ge "$1" ] && return; sleep 0.1; done; }
run() { # run NAME SIGNAL: tell, silence, end, start anew, and the same alert comes again
  rm -rf data; : >told; start; alert; told 1
  amtool silence add alertname=ShopIsDown --comment='known' --author=ops >/dev/null
  before=$(silences); kill -"$1" "$alertmanager"; wait "$alertmanager" 2>/dev/null || true
  start; after=$(silences); alert; sleep 5; count=$(wc -l <told)
  kill "$alertmanager"; wait "$alertmanager" 2>/dev/null || true
  echo "$1: silences before $before, after $after · told $count times"
}
run TERM; [ "$before $after $count" = "1 1 1" ]
run KILL; [ "$before $after $count" = "1 0 2" ]
