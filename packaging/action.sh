#!/usr/bin/env bash
# What action.yml runs: packaging/action.sh get|run|report. Its inputs are environment variables, never words of a script:
# SCENARIO, TARGET, ARGUMENTS (one a line), REPORT.
set -euo pipefail
case $1 in
  get)
    # What is on PATH is used; else sre is built from the sources that the action came with.
    if ! command -v sre; then
      cargo install --quiet --locked --root "${RUNNER_TEMP:?}/sre" --path "$(dirname "$(readlink -f "$0")")/.."
      echo "$RUNNER_TEMP/sre/bin" >>"${GITHUB_PATH:?}"
    fi
    ;;
  run)
    arguments=()
    while IFS= read -r argument; do
      [ -z "$argument" ] || arguments+=("$argument")
    done <<<"${ARGUMENTS:-}"
    sre run "${SCENARIO:?}" --target "${TARGET:-local}" --yes "${arguments[@]}"
    ;;
  report)
    # Its exit code is the run's, which the step before has told already; without a run there is no report.
    mkdir -p "$(dirname "${REPORT:?}")"
    code=0
    sre report --format junit >"$REPORT" || code=$?
    if ! grep -q '<testsuites' "$REPORT"; then
      rm -f "$REPORT"
      echo "sre report ended with $code and left no report" >&2
      exit "$code"
    fi
    sre report --format markdown >>"${GITHUB_STEP_SUMMARY:-/dev/null}" || true
    sre down || true
    ;;
  *)
    echo "get, run or report?" >&2
    exit 2
    ;;
esac
