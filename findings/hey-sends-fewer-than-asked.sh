#!/usr/bin/env bash
# hey 0.1.4 (Debian 12): `-n 1000 -c 7` sends 994 requests and ends with exit 0, without a word; `-n 1000 -c 300` sends 900.
# Guess: -n is the number of requests that are sent, as its help says ("Number of requests to run").
# Seen: each worker sends n / c, rounded down; the rest is left out.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q hey=0.1.4-2+b4 >/dev/null 2>&1; dpkg -x hey_*.deb .

cat >count.py <<'P'
import http.server, threading
lock, seen = threading.Lock(), [0]
class Count(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with lock:
            if self.path == "/load": seen[0] += 1
            body = b"%d" % seen[0]
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 19511), Count); server.request_queue_size = 512; server.serve_forever()
P
python3 count.py & pids+=($!)
counted() { curl -s http://127.0.0.1:19511/count; }
for _ in $(seq 50); do counted >/dev/null && break; sleep 0.1; done
before=$(counted); code=0; usr/bin/hey -n 1000 -c 7 http://127.0.0.1:19511/load >out 2>err || code=$?
sent=$(( $(counted) - before )); told=$(awk '/\[200\]/ {print $2}' out)
echo "asked 1000 · received $sent · told $told · exit $code · stderr: $(wc -c <err) bytes"
[ "$sent" = 994 ] && [ "$told" = 994 ] && [ "$code" = 0 ] && [ ! -s err ]
