#!/usr/bin/env bash
# ab 2.3 (apache2-utils 2.4.71, Debian 12): answers whose bodies end before their Content-Length are "Complete requests"
# with "Failed requests: 0", exit 0. oha's and curl's view of the same answer is an error.
# Guess: a body that is shorter than announced is a failed request ("Length" failures exist).
# Seen: 20 complete, 0 failed; curl ends with 18 (partial file).
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q apache2-utils=2.4.71-1~deb12u1 libapr1=1.7.2-3+deb12u1 libaprutil1=1.6.3-1+deb12u1 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" .; done
export LD_LIBRARY_PATH=$(dirname "$(find "$work" -name 'libapr-1.so.0' | head -1)")
usr/bin/ab -V | head -1

cat >short.py <<'P'
import socket, threading
listener = socket.create_server(("127.0.0.1", 19491), backlog=64)
def answer(peer):
    with peer:
        if peer.recv(4096): peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 100)
while True: threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
P
python3 short.py & pids+=($!)
for _ in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/19491) 2>/dev/null && break; sleep 0.1; done
code=0; usr/bin/ab -n 20 -c 2 http://127.0.0.1:19491/ >out 2>&1 || code=$?
grep -E 'Complete requests|Failed requests' out
partial=0; curl -s -o /dev/null http://127.0.0.1:19491/ || partial=$?
echo "ab: exit $code · curl: exit $partial"
[ "$code" = 0 ] && [ "$partial" = 18 ] && grep -qE 'Complete requests: +20$' out && grep -qE 'Failed requests: +0$' out
