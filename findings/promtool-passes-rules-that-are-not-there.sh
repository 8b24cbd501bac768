#!/usr/bin/env bash
# promtool 2.42.0 (Debian 12): `test rules` with a rule file that does not exist, and with an alert name that no rule
# has, ends with SUCCESS and exit 0.
# Guess: an unreadable rule file is an error; an expectation about an unknown alert fails.
# Seen: both pass, because a path is a pattern that may match nothing, and no alert is what was expected.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
apt-get download -q prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1; dpkg -x prometheus_*.deb .
promtool=$work/usr/bin/promtool
"$promtool" --version 2>&1 | head -1

cat >rules.yml <<'Y'
groups:
  - name: shop
    rules:
      - alert: ShopIsDown
        expr: up == 0
Y
cat >absent-file.yml <<'Y'
rule_files: [no-such-file.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series: [{series: 'up{job="shop"}', values: '0x5'}]
    alert_rule_test: [{eval_time: 3m, alertname: ShopIsDown, exp_alerts: []}]
Y
sed 's/no-such-file.yml/rules.yml/; s/alertname: ShopIsDown/alertname: ShopIsDwon/' absent-file.yml >absent-alert.yml
# Held against itself: the rule does fire on this input, so that an honest test of the right file and name fails.
sed 's/no-such-file.yml/rules.yml/' absent-file.yml >honest.yml

code() { local code=0; "$promtool" test rules "$1" >"$1.out" 2>&1 || code=$?; echo "$code"; }
file=$(code absent-file.yml) alert=$(code absent-alert.yml) honest=$(code honest.yml)
echo "rule file that does not exist: exit $file · alert that does not exist: exit $alert · both there: exit $honest"
[ "$file" = 0 ] && [ "$alert" = 0 ] && [ "$honest" = 1 ]
