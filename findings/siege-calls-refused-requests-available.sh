#!/usr/bin/env bash
# siege 4.0.7 (Debian 12): where every answer is 404, availability is 100 % with no failed transaction (and no successful one);
# where every answer is 401, each request is sent five times, and all 25 of five are successful transactions.
# Guess: an answer that the server refuses is a failed transaction, as it is with 500, or all three are not. The manual says of
# availability that it leaves out errors of the levels 400 and 500, and nothing of 401.
# Seen: 404: 5 transactions, 0 successful, 0 failed, 100 %; 401: 25, 25, 0, 100 %; 500: 0, 0, 5, 0 %. Exit 0 each time.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q siege=4.0.7-1+b1 >/dev/null 2>&1; dpkg -x siege_*.deb .

cat >refuse.py <<'P'
import http.server
class Refuse(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with open("wire", "a") as file: file.write(self.path + "\n")
        self.send_response(int(self.path[1:])); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 19801), Refuse).serve_forever()
P
python3 refuse.py & pids+=($!)
for _ in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/19801) 2>/dev/null && break; sleep 0.1; done
value() { grep -o "\"$1\":[^,}]*" out | grep -o '[0-9.]*$'; }
run() {
  : >wire; code=0; HOME=$work timeout 30 usr/bin/siege -q -j -c 1 -r 5 "http://127.0.0.1:19801/$1" >out 2>/dev/null || code=$?
  seen="$(wc -l <wire): $(value transactions) $(value successful_transactions) $(value failed_transactions) $(value availability) exit $code"
  echo "$1 · on the wire: transactions, successful, failed, availability · $seen"
}
run 404; [ "$seen" = "5: 5 0 0 100.00 exit 0" ]
run 401; [ "$seen" = "25: 25 25 0 100.00 exit 0" ]
run 500; [ "$seen" = "5: 0 0 5 0.00 exit 0" ]
