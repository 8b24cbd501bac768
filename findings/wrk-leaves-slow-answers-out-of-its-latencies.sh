#!/usr/bin/env bash
# wrk 4.1.0 (Debian 12): a complete answer that takes longer than the time-out (2 s by default) is counted among the requests,
# and left out of the latencies: a service that froze for 3 s has a maximum below 2 s and a flat 99th percentile.
# Guess: the freeze is the maximum, 3 s, since wrk waited for these answers and counted them. The help says that a time-out is
# recorded for a response that is not received in time, and nothing of the latencies.
# Seen: eight answers after 3 s, all of them counted; maximum some 100 ms; one line, "timeout 8", tells of them.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q wrk=4.1.0-3+b2 >/dev/null 2>&1; dpkg -x wrk_*.deb .

# It freezes from the second to the fifth second after its first request, and then answers all that waited.
cat >freeze.py <<'P'
import http.server, threading, time
lock, first, count = threading.Lock(), [], {"late": 0, "all": 0}
class Freeze(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/count": body = b"%d %d" % (count["late"], count["all"])
        else:
            with lock: first.append(time.monotonic())
            age = time.monotonic() - first[0]; late = 2 < age < 2.5
            if 2 < age < 5: time.sleep(5 - age)
            with lock: count["late"] += late; count["all"] += 1
            body = b"ok"
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 19821), Freeze).serve_forever()
P
python3 freeze.py 2>/dev/null & pids+=($!)
for _ in $(seq 100); do curl -s http://127.0.0.1:19821/count >/dev/null && break; sleep 0.1; done
usr/bin/wrk -t1 -c8 -d8s --latency http://127.0.0.1:19821/ >out; read -r late all <<<"$(curl -s http://127.0.0.1:19821/count)"
grep -E 'Latency  |99%|requests in|timeout' out
told=$(awk '/requests in/ {print $1}' out) timeouts=$(grep -o 'timeout [0-9]*' out | awk '{print $2}') max=$(awk '$1 == "Latency" && $2 != "Distribution" {print $4}' out)
echo "answered after more than 2.5 s: $late · answered in all: $all, told: $told · timeouts: $timeouts · maximum: $max"
# All of the late ones are told as time-outs, and the maximum is below 2 s: milliseconds, or 1.… s.
[ "$late" = 8 ] && [ "$timeouts" -ge 8 ] && [ $((all - told)) -le 8 ] && [[ $max =~ ^([0-9.]+(ms|us)|1\.[0-9]+s)$ ]]
