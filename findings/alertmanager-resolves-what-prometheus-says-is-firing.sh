#!/usr/bin/env bash
# Prometheus 2.42.0 and Alertmanager 0.25.0 (Debian 12): a firing alert whose rule begins to fail in its evaluation (a second
# series makes a join ambiguous) stays "firing" in Prometheus and is sent no more: Alertmanager tells its resolution.
# Guess: the two agree: the alert goes on at both, or it ends at both. The documentation says what a rule's health is, not
# what becomes of its alerts.
# Seen: /api/v1/alerts has it firing, /api/v1/rules has the rule's health "err", the receiver is told "resolved", and the
# condition of the alert holds all the time. The same in Prometheus 3.15.0 and Alertmanager 0.31.1.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 prometheus-alertmanager=0.25.0-1+b4 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" .; done

# A page on 19631 that gains a second series when the file `second` is there; the receiver on 19633.
cat >shop.py <<'P'
import http.server, json, os, threading
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = 'shop_queue{shop="a"} 900\nshop_workers{shop="a",pod="1"} 3\n'
        if os.path.exists("second"): body += 'shop_workers{shop="a",pod="2"} 3\n'
        self.send_response(200); self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body.encode())
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open("told", "a") as file:
            for alert in told["alerts"]: file.write("%s %s\n" % (alert["labels"]["alertname"], alert["status"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
for port in 19631, 19633: threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever).start()
P
cat >alertmanager.yml <<'Y'
route: {receiver: sink, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}
receivers: [{name: sink, webhook_configs: [{url: "http://127.0.0.1:19633/", send_resolved: true}]}]
Y
cat >rules.yml <<'Y'
groups: [{name: shop, rules: [{alert: QueueIsLong, expr: shop_queue / on (shop) shop_workers > 100}]}]
Y
cat >prometheus.yml <<'Y'
global: {evaluation_interval: 1s, scrape_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: shop, static_configs: [{targets: ["127.0.0.1:19631"]}]}]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:19635"]}]}]}
Y
python3 shop.py & pids+=($!)
# Debian's build reads its templates from /usr/share: a mount namespace shows it the unpacked ones there.
unshare --map-root-user --mount bash -c 'mount --bind "$0/usr/share" /usr/share && exec "$@"' "$work" \
  usr/bin/prometheus-alertmanager --config.file=alertmanager.yml --storage.path=am --web.listen-address=127.0.0.1:19635 --cluster.listen-address= >am.log 2>&1 & pids+=($!)
# An alert that is not sent again ends at Alertmanager after four resend delays: 4 min by default, 4 s here.
usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19637 \
  --rules.alert.resend-delay=1s >log 2>&1 & pids+=($!)
touch told
told() { for _ in $(seq 200); do grep -q "$1" told && return; sleep 0.2; done; }
ask() { curl -s "http://127.0.0.1:19637/api/v1/$1" | python3 -c "import json,sys; print($2)"; }
told 'QueueIsLong firing'; touch second; told 'QueueIsLong resolved'
firing=$(ask alerts '[a["state"] for a in json.load(sys.stdin)["data"]["alerts"]]')
health=$(ask rules '[(r["health"], r["lastError"][:60]) for r in json.load(sys.stdin)["data"]["groups"][0]["rules"]]')
held=$(ask 'query?query=shop_queue' '[r["value"][1] for r in json.load(sys.stdin)["data"]["result"]]')
echo "Prometheus: alerts $firing · rule $health · queue $held"; echo "told:"; cat told
[ "$firing" = "['firing']" ] && [[ $health == *"'err'"* ]] && [ "$held" = "['900']" ]
[ "$(cat told)" = "QueueIsLong firing
QueueIsLong resolved" ]
