#!/usr/bin/env bash
# Prometheus 2.42.0 (Debian 12): remote write reads from the write-ahead log, and outlives a receiver that is away. If the
# sender is restarted while the receiver is away, what had not been sent by then is never sent, though it is in the log: the
# new life begins with its own time. No counter of the sender tells of it.
# Guess: unsent samples are in the log, and are sent after the restart (the documentation: data is lost if the receiver is away
# for longer than the log is kept, two hours).
# Seen: the sender has every second, the receiver a hole as long as the outage; failed_total is 0. The same in 3.15.0.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1; dpkg -x prometheus_*.deb .

# Two senders, each of which scrapes itself: `restarted` and `kept`.
sender() { cat >"$1.yml" <<Y
global: {scrape_interval: 1s}
scrape_configs: [{job_name: $1, static_configs: [{targets: ["127.0.0.1:$2"]}]}]
remote_write: [{url: "http://127.0.0.1:19693/api/v1/write", queue_config: {batch_send_deadline: 1s}, write_relabel_configs: [{source_labels: [__name__], regex: up, action: keep}]}]
Y
start "$1" "$2" --storage.remote.flush-deadline=2s; }
start() { # start NAME PORT OPTION…: the process is in $last
  [ -f "$1.yml" ] || : >"$1.yml"
  usr/bin/prometheus --config.file="$1.yml" --storage.tsdb.path="$1" --web.listen-address="127.0.0.1:$2" "${@:3}" >>"$1.log" 2>&1 & last=$!; pids+=("$last")
  for _ in $(seq 100); do curl -sf "http://127.0.0.1:$2/-/ready" >/dev/null && return; sleep 0.2; done
}
stop() { kill "$1"; wait "$1" 2>/dev/null || true; }
samples() { # samples PORT JOB TIME: how many samples of `up` there are in the 8 s before
  curl -s --get "http://127.0.0.1:$1/api/v1/query" --data-urlencode "query=count_over_time(up{job='$2'}[8s] @ $3)" | grep -o '"value":.*"[0-9]*"' | grep -o '[0-9]*"$' | tr -d '"' || echo 0
}
arrive() { for job in kept restarted; do for _ in $(seq 60); do [ "$(samples 19693 $job "$(date +%s)")" -ge 1 ] && break; sleep 0.3; done; done; }
start receiver 19693 --web.enable-remote-write-receiver; receiver=$last
sender kept 19695; sender restarted 19691; restarted=$last
arrive; stop "$receiver"; sleep 10; away=$(date +%s)   # the receiver has been away for the 8 s before `away`
stop "$restarted"; sender restarted 19691
start receiver 19693 --web.enable-remote-write-receiver
arrive; sleep 7   # a retry comes after 5 s at the latest
for job in kept restarted; do
  port=19695; [ $job = kept ] || port=19691
  echo "sender $job: it has $(samples $port $job "$away") samples of the outage, the receiver $(samples 19693 $job "$away")"
done
lost=$(curl -s http://127.0.0.1:19691/metrics | awk '/^prometheus_remote_storage_samples_failed_total\{/ {sum += $2} END {print sum + 0}')
echo "restarted: failed $lost"; [ "$lost" = 0 ]
[ "$(samples 19693 kept "$away")" -ge 6 ] && [ "$(samples 19691 restarted "$away")" -ge 6 ] && [ "$(samples 19693 restarted "$away")" = 0 ]
