#!/usr/bin/env bash
# blackbox_exporter 0.23.0 (Debian 12): where the server accepts and never answers, probe_http_duration_seconds{phase=
# "processing"} is about 0 s, though all of the probe's 2 s were spent waiting for the answer.
# Guess: the phase in which the probe hung has the time that was spent in it: about 2 s.
# Seen: every phase is below 0.1 s, while probe_duration_seconds is 2 s: a panel of phases shows the fastest probe ever.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus-blackbox-exporter=0.23.0-4+b4 >/dev/null 2>&1; dpkg -x prometheus-blackbox-exporter_*.deb .

cat >silent.py <<'P'
import socket, threading, time
listener = socket.create_server(("127.0.0.1", 19521), backlog=16)
def hold(peer):
    with peer: time.sleep(30)
while True: threading.Thread(target=hold, args=(listener.accept()[0],), daemon=True).start()
P
python3 silent.py & pids+=($!)
for _ in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/19521) 2>/dev/null && break; sleep 0.1; done
printf 'modules: {http: {prober: http, timeout: 2s}}\n' >blackbox.yml
"$work/usr/bin/prometheus-blackbox-exporter" --config.file=blackbox.yml --web.listen-address=127.0.0.1:19520 >log 2>&1 & pids+=($!)
for _ in $(seq 100); do curl -sf http://127.0.0.1:19520/-/healthy >/dev/null && break; sleep 0.1; done
curl -s 'http://127.0.0.1:19520/probe?module=http&target=http://127.0.0.1:19521/' >metrics
grep -E '^probe_(success|duration_seconds|http_duration_seconds)' metrics
awk '/^probe_success/ {ok = $2 == 0} /^probe_duration_seconds/ {whole = $2} /^probe_http_duration_seconds/ {sum += $2}
  END {printf "whole %.2f s · all phases together %.4f s\n", whole, sum; exit !(ok && whole > 1.4 && sum < 0.1)}' metrics
