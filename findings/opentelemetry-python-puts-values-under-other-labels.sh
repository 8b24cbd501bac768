#!/usr/bin/env bash
# opentelemetry-exporter-prometheus 0.66b2 with opentelemetry-sdk 1.45.2 (PyPI): where two libraries of one process have a
# counter of the same name with other attributes, the page has one family, and the values of the second are written under the
# label names of the first: what was counted for {queue="mail", result="ok"} is told as {route="mail", status="ok"}.
# Guess: each series has its own labels (the specification tells exporters how two scopes with one name are merged, and each
# series has its otel_scope_name), or the second is refused with an error.
# Seen: requests_total{otel_scope_name="jobs",route="mail",status="ok"} 7, no warning; no series has a label "queue". A sum
# over status="ok" or a join on "route" counts what does not belong there.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2 opentelemetry-exporter-prometheus==0.66b2 prometheus_client==0.26.0 >/dev/null 2>&1

cat >page.py <<'P'
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import generate_latest
provider = MeterProvider([PrometheusMetricReader()])
provider.get_meter("web").create_counter("requests").add(5, {"route": "/cart", "status": "200"})
provider.get_meter("jobs").create_counter("requests").add(7, {"queue": "mail", "result": "ok"})
print(generate_latest().decode())
P
venv/bin/python page.py >page 2>err
grep '^requests_total' page; echo "stderr: $(wc -c <err) bytes"
grep -q '^requests_total{.*otel_scope_name="jobs".*route="mail",status="ok"} 7' page && ! grep -q 'queue=' page && [ ! -s err ]
