#!/usr/bin/env bash
# locust 2.47.0 with geventhttpclient 2.6.1 (PyPI): where the server resets the connection, one GET of a FastHttpUser goes out
# twelve times, and is told as one failure: the load on a service that fails is a multiple of what the report says, and its
# own counters disagree with it. (A POST goes out once.)
# Guess: a request that failed is sent once, as HttpUser does it, or told as often as it was sent. The documentation of
# FastHttpUser has `max_retries`, and its default is 0.
# Seen: HttpUser: 1 on the wire, 1 told; FastHttpUser: 12 on the wire, 1 told.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
python3 -m venv venv; venv/bin/pip install --quiet --disable-pip-version-check locust==2.47.0 geventhttpclient==2.6.1 >/dev/null 2>&1

cat >reset.py <<'P'
import socket, struct, threading
listener = socket.create_server(("127.0.0.1", 19791), backlog=64)
def answer(peer):
    request = peer.recv(4096)
    if request:
        with open("wire", "ab") as file: file.write(request.split(b"\r\n")[0] + b"\n")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))   # a reset, no orderly end
    peer.close()
while True: threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
P
cat >locustfile.py <<'P'
import os
from locust import FastHttpUser, HttpUser, task
class User(FastHttpUser if os.environ["USER_CLASS"] == "FastHttpUser" else HttpUser):
    host = "http://127.0.0.1:19791"
    @task
    def orders(self):
        self.client.get("/orders")
        stats = self.environment.stats.total
        print("told", stats.num_requests, stats.num_failures, flush=True)
        self.environment.runner.quit()
P
python3 reset.py & pids+=($!)
run() { : >wire; USER_CLASS=$1 timeout 50 venv/bin/locust --headless -u 1 -r 1 -t 40s >"$1" 2>&1 || true; told=$(awk '$1 == "told" {print $2, $3; exit}' "$1"); sent=$(wc -l <wire); echo "$1: $sent on the wire · told (requests, failures): $told"; }
run HttpUser; [ "$sent $told" = "1 1 1" ]
run FastHttpUser; sort wire | uniq -c; [ "$told" = "1 1" ] && [ "$sent" = 12 ]
