#!/usr/bin/env bash
# What it takes to build `sre`: another commit and this working tree, in turn, each into an empty target folder, with the
# crates downloaded before. Writes tables between the markers in docs/performance.md.
#
#   benches/build.sh [COMMIT]
#
# Processor time counts: it is nearly the same whatever else runs. Time on the clock depends on that, so the load stands
# beside it.
set -euo pipefail

# Within a build: runs a compiler, and notes what it took and which crate it was for. Cargo and its build scripts tell that
# to what they run.
if [ -n "${SRE_BENCH_BUILD:-}" ]; then
  TIMEFORMAT="${CARGO_PKG_NAME:--} %U %S"
  { time "$@" 2>&3 3>&-; } 3>&2 2>>"$SRE_BENCH_BUILD"
  exit
fi

root=$(cd "$(dirname "$0")/.." && pwd)
page=$root/docs/performance.md
commit=$(git -C "$root" rev-parse --short=7 "${1:-6a3f223}^{commit}")
place=$(mktemp -d "${TMPDIR:-/tmp}/sre-build.XXXXXX")
trap 'rm -rf "$place"' EXIT

mkdir "$place/$commit"
git -C "$root" archive "$commit" | tar -x -C "$place/$commit"
printf '#!/bin/sh\nexec "%s" cc "$@"\n' "$root/benches/build.sh" >"$place/cc"
chmod +x "$place/cc"

# Builds what is in folder $2 and keeps its figures under $1: `all` has the sum, `log` a line a compiler, `size`.
build() {
  local figures=$place/$1.figures target=$place/$1.target load TIMEFORMAT='%R %U %S'
  mkdir "$figures"
  cd "$2"
  cargo fetch --quiet --locked
  read -r load _ </proc/loadavg
  echo "$1 is built; load average $load"
  { time env SRE_BENCH_BUILD="$figures/log" RUSTC_WRAPPER="$root/benches/build.sh" CC="$place/cc" \
    CARGO_TARGET_DIR="$target" CARGO_INCREMENTAL=0 cargo build --quiet --release --locked 2>&3; } 3>&2 2>"$figures/all"
  echo "$load" >>"$figures/all"
  stat -c %s "$target/release/sre" >>"$figures/all"
  rm -rf "$target"
}

build "$commit" "$place/$commit"
build here "$root"

# From the figures of both.
tables() {
  awk -v commit="$commit" -v day="$(date -u +%F)" -v cores="$(nproc)" -v rustc="$(rustc --version | cut -d' ' -f2)" '
    function row(what, there, here, form) {
      return sprintf("| %s | %.2f | " form " | " form " |\n", what, here / there, there, here)
    }
    FILENAME ~ /all$/ {
      which = FILENAME ~ /here\.figures/
      if (NF == 3) { wall[which] = $1; sum[which] = $2 + $3 }
      else if (FNR == 2) load[which] = $1
      else size[which] = $1 / 1e6
      next
    }
    # Before it builds, cargo asks the compiler who it is.
    $1 == "-" { next }
    { which = FILENAME ~ /here\.figures/; took[which, $1] += $2 + $3; seen[which] += $2 + $3; names[$1] }
    END {
      printf "`cargo build --release` with Rust %s on %d cores, %s, of %s and of this tree, in turn: ", rustc, cores, day, commit
      printf "each into an empty target\nfolder, the crates downloaded before. Load average before: %s and %s.\n\n", load[0], load[1]
      printf "| | ratio | %s | here |\n|---|---|---|---|\n", commit
      printf "%s", row("processor time", sum[0], sum[1], "%.0f s")
      printf "%s", row("time on the clock", wall[0], wall[1], "%.0f s")
      printf "%s", row("the program", size[0], size[1], "%.1f MB")
      printf "%s", row("processor time of `sre` itself, with linking", took[0, "sre"], took[1, "sre"], "%.0f s")
      delete names["sre"]
      print "\nThe ten dearest dependencies, with the C in them, in seconds of processor time:\n"
      printf "| | %s | here |\n|---|---|---|\n", commit
      for (n = 1; n <= 10; n++) {
        dearest = ""
        for (name in names) if (dearest == "" || took[1, name] > took[1, dearest]) dearest = name
        if (dearest == "") break
        printf "| %s | %.1f | %.1f |\n", dearest, took[0, dearest], took[1, dearest]
        rest[0] += took[0, dearest]; rest[1] += took[1, dearest]
        delete names[dearest]
      }
      for (w = 0; w < 2; w++) { others[w] = seen[w] - took[w, "sre"] - rest[w]; scripts[w] = sum[w] - seen[w] }
      printf "| the other %d | %.1f | %.1f |\n", length(names), others[0], others[1]
      printf "| cargo, and what build scripts do themselves | %.1f | %.1f |\n", scripts[0], scripts[1]
    }' "$place/$commit.figures/log" "$place/$commit.figures/all" "$place/here.figures/log" "$place/here.figures/all"
}

tables >"$place/tables"
cat "$place/tables"
# Only what is between the markers is replaced.
awk -v tables="$place/tables" '
  /<!-- build: end -->/ { while ((getline line <tables) > 0) print line; inside = 0 }
  !inside
  /<!-- build: written by/ { inside = 1 }' "$page" >"$place/page"
cat "$place/page" >"$page"
