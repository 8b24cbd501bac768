#!/usr/bin/env bash
# node_exporter 1.5.0 (Debian 12): where two files of the textfile collector have the same metric and differ in its HELP or
# TYPE line, or have the same series, the samples of the second are left out of the page: 200, node_textfile_scrape_error 0,
# node_scrape_collector_success 1, and the file's mtime is fresh. Only a line in the log tells.
# Guess: node_textfile_scrape_error is 1, since what the file says did not get onto the page; its help is "1 if there was an
# error opening or reading a file, 0 otherwise", and the README tells nothing of two files.
# Seen: the backup of "files" is missing from the page while each figure of the collector is green.
set -euo pipefail
work=$(mktemp -d); cd "$work"; pids=()
finish() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"; }
trap finish EXIT
apt-get download -q prometheus-node-exporter=1.5.0-1+b6 >/dev/null 2>&1; dpkg -x prometheus-node-exporter_*.deb .
mkdir textfile
file() { printf '# HELP backup_age_seconds Age of the backup.\n# TYPE backup_age_seconds %s\nbackup_age_seconds{of="%s"} %s\n' "$2" "$3" "$4" >"textfile/$1.prom"; }
usr/bin/prometheus-node-exporter --collector.disable-defaults --collector.textfile --collector.textfile.directory=textfile --web.listen-address=127.0.0.1:19781 >log 2>&1 & pids+=($!)
page() { curl -s -o page -w '%{http_code}' http://127.0.0.1:19781/metrics; }
for _ in $(seq 50); do [ "$(page || true)" = 200 ] && break; sleep 0.2; done
green() { grep -q '^node_textfile_scrape_error 0' page && grep -q '^node_scrape_collector_success{collector="textfile"} 1' page && grep -q '^node_textfile_mtime_seconds{file="textfile/b.prom"}' page; }
show() { echo "$1: $(page), $(grep -c '^backup_age_seconds' page) of 2 samples, $(green && echo green || echo red)"; }

file a gauge db 5; file b gauge files 900; show 'one TYPE      '; whole=$(grep -c '^backup_age_seconds' page)
file b untyped files 900; show 'two TYPEs     '; types=$(grep -c '^backup_age_seconds' page); green
file b gauge db 900; show 'one series two times'; twice=$(grep -c '^backup_age_seconds' page); green
grep -o 'error gathering metrics.*' log | tail -1
[ "$whole $types $twice" = "2 1 1" ] && grep -q '^backup_age_seconds{of="db"} 5' page
