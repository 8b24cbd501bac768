#!/usr/bin/env bash
# promtool 2.42.0 (Debian 12): `tsdb create-blocks-from openmetrics` drops a sample whose time is not newer than the one
# before it in its series, and ends with exit 0 without naming it.
# Guess: an error, as a running Prometheus counts and logs out-of-order and duplicate samples.
# Seen: 4 lines in (one out of order, one doubled time), 2 samples out, exit 0, and no word on stderr.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1; dpkg -x prometheus_*.deb .
promtool=$work/usr/bin/promtool
"$promtool" --version 2>&1 | head -1

cat >in.om <<'M'
# TYPE shop_requests counter
shop_requests_total 10 1700000000
shop_requests_total 30 1700000060
shop_requests_total 20 1700000030
shop_requests_total 31 1700000060
# EOF
M
code=0; "$promtool" tsdb create-blocks-from openmetrics in.om out >stdout 2>stderr || code=$?
cat stdout
samples=$(awk 'NR == 2 {print $5}' stdout)
echo "exit $code · 4 lines in · $samples samples out · stderr: $(wc -c <stderr) bytes"
[ "$code" = 0 ] && [ "$samples" = 2 ] && [ ! -s stderr ]
