#!/usr/bin/env bash
# A rustc that instruments this project's own code, and nothing else: what it is built on is as in every other build, and
# is shared with it.
set -euo pipefail
case " $* " in
*" --crate-name sre "* | *" --crate-name all "*)
  exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
  ;;
*) exec "$@" ;;
esac
