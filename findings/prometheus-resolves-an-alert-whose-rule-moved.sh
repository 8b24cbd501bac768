#!/usr/bin/env bash
# Prometheus 2.42.0 and Alertmanager 0.25.0 (Debian 12): a firing alert whose rule is moved, unchanged, to a group of another
# name (or to another file: a rule file that an operator writes anew under a new name) starts anew as pending. It is not sent
# to Alertmanager until `for` has passed again, so that Alertmanager tells a resolution in the middle of the incident.
# Guess: a reload keeps the state of a rule that did not change, as it does within its group; or a new group's state is
# restored from ALERTS_FOR_STATE as at a restart. The documentation of alerting rules says neither.
# Seen: firing, then pending with a later activeAt; the receiver is told "resolved" while the expression holds throughout.
# The same in Prometheus 3.15.0 and Alertmanager 0.31.1.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 prometheus-alertmanager=0.25.0-1+b4 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" .; done

cat >sink.py <<'P'
import http.server, json
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open("told", "a") as file:
            for alert in told["alerts"]: file.write("%s %s\n" % (alert["labels"]["alertname"], alert["status"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 19621), Sink).serve_forever()
P
cat >alertmanager.yml <<'Y'
route: {receiver: sink, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}
receivers: [{name: sink, webhook_configs: [{url: "http://127.0.0.1:19621/", send_resolved: true}]}]
Y
# The second rule stays where it is, through the same reload.
cat >rules.yml <<'Y'
groups:
  - {name: web, rules: [{alert: Moved, expr: vector(1), for: 25s}]}
  - {name: rest, rules: [{alert: Stayed, expr: vector(1), for: 25s}]}
Y
cat >prometheus.yml <<'Y'
global: {evaluation_interval: 1s}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:19623"]}]}]}
Y
python3 sink.py & pids+=($!)
# Debian's build reads its templates from /usr/share: a mount namespace shows it the unpacked ones there.
unshare --map-root-user --mount bash -c 'mount --bind "$0/usr/share" /usr/share && exec "$@"' "$work" \
  usr/bin/prometheus-alertmanager --config.file=alertmanager.yml --storage.path=am --web.listen-address=127.0.0.1:19623 --cluster.listen-address= >am.log 2>&1 & pids+=($!)
# An alert that is not sent again ends at Alertmanager after four resend delays: 4 min by default, 4 s here.
usr/bin/prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19625 --web.enable-lifecycle \
  --rules.alert.resend-delay=1s >log 2>&1 & pids+=($!)
touch told
told() { for _ in $(seq "$2"); do grep -q "$1" told && return; sleep 0.2; done; }
state() { curl -s http://127.0.0.1:19625/api/v1/alerts | python3 -c 'import json,sys
for a in json.load(sys.stdin)["data"]["alerts"]:
  if a["labels"]["alertname"] == sys.argv[1]: print(a["state"], a["activeAt"])' "$1"; }
told 'Moved firing' 250; told 'Stayed firing' 25
before=$(state Moved)
sed -i 's/name: web/name: frontend/' rules.yml; curl -sf -X POST http://127.0.0.1:19625/-/reload
told 'Moved resolved' 100; after=$(state Moved) stayed=$(state Stayed)
echo "before: $before"; echo "after:  $after"; echo "the rule that stayed: $stayed"; cat told
[[ $before == firing* && $after == pending* && $stayed == firing* ]] && [ "${before#* }" != "${after#* }" ]
grep -q '^Moved firing' told && grep -q '^Moved resolved' told && ! grep -q '^Stayed resolved' told
