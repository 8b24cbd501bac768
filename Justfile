# What CI runs, and what a developer runs before a commit. `just --list` shows all.

export CARGO_TERM_COLOR := env("CARGO_TERM_COLOR", "auto")

# The build that the main job is run from: `release`, or `dev`, which is made in a fraction of the time
profile := env("SRE_PROFILE", "release")
built := justfile_directory() / "target" / (if profile == "dev" { "debug" } else { profile })

# The static program that images on a cluster hold: one that is there already, or the recipe `static` builds it
static := env("SRE_TEST_STATIC", justfile_directory() / "target/sre-static")

# What runs the tests on clusters; CI has those that failed run again
tester := env("SRE_TESTER", "cargo test")

# Everything that CI runs
ci: format lint docs test deny end-to-end

# Formatting is as rustfmt has it
format:
    cargo fmt --check

# Clippy, warnings denied
lint:
    cargo clippy --all-targets --locked -- -D warnings

# Unit tests and integration tests, with the real Prometheus and Alertmanager; most of them wait for a scrape
test:
    cargo test --locked

# The documentation builds without a warning
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Licences, sources and bans of dependencies; with cargo-deny, where it and its database are here, advisories, too
deny:
    cargo test --locked --test dependencies
    @if ! command -v cargo-deny >/dev/null; then echo "SKIPPED: advisories: cargo-deny is not installed (cargo install --locked cargo-deny)" >&2; \
    else cargo deny --offline check licenses bans sources && \
        if ls "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/*/crates >/dev/null 2>&1; then cargo deny --offline check advisories; \
        else echo "SKIPPED: advisories: their database is not here (cargo deny fetch)" >&2; fi; fi

# The main job, once, as a stranger runs it
end-to-end:
    cargo build --profile {{profile}} --locked
    SRE={{built}}/sre ./tests/end-to-end.sh

# Both commands of the README from nothing: a clone of what is committed, no package lists, an empty home and registry
fresh:
    ./tests/fresh.sh

# Every pinned archive and chart against its project's own list of checksums (needs the internet)
pins:
    SRE_TEST_PINS=yes cargo test --locked --test mirror pins -- --nocapture

# The main job on a cluster (SRE_TEST_KUBECONFIG, SRE_TEST_IMAGE_LOADER), load from inside it, faults that are seen, the guestbook lab, an `up` that is killed at any moment, and a mirror's images on nodes
cluster: static
    program={{static}}; SRE_TEST_STATIC=$program SRE_TEST_PROGRAM=$program {{tester}} --locked --test cluster_run --test cluster_load --test cluster_detected --test guestbook --test cluster_up --test mirror -- --test-threads=1

# A static program for images and archives, unless SRE_TEST_STATIC names one: only the last step differs from the usual build
static:
    [ -n "${SRE_TEST_STATIC:-}" ] || SRE_PROFILE={{profile}} ./packaging/static.sh {{static}}

# What a release needs, into target/dist: archives, images, bills of materials, checksums; for arm64, too, where its tools are
dist: static
    #!/usr/bin/env bash
    set -euo pipefail
    host=$(rustc -vV | sed -n 's/^host: //p') other=aarch64-unknown-linux-gnu missing=()
    programs=("$host={{static}}")
    if [ "$host" = x86_64-unknown-linux-gnu ]; then
      command -v aarch64-linux-gnu-gcc >/dev/null || missing+=("a linker: apt-get install gcc-aarch64-linux-gnu")
      [ -d "$(rustc --print sysroot)/lib/rustlib/$other" ] || missing+=("Rust's standard library: rustup target add $other")
      if [ ${#missing[@]} = 0 ]; then
        SRE_PROFILE={{profile}} ./packaging/static.sh "target/sre-static-$other" "$other"
        programs+=("$other=target/sre-static-$other")
      else
        for tool in "${missing[@]}"; do echo "NOT MADE for $other, which needs $tool" >&2; done
      fi
    fi
    ./packaging/dist.sh target/dist "${programs[@]}"
    ls -l target/dist

# The archive of `dist` in an empty root file system and in a new Debian (as root, with debootstrap)
dist-try:
    ./tests/dist.sh

# The bill of materials against CycloneDX's own schema (from PyPI, into target/)
dist-schema:
    [ -x target/cyclonedx/bin/python ] || { python3 -m venv target/cyclonedx && target/cyclonedx/bin/pip --quiet install 'cyclonedx-python-lib[json-validation]==11.12.0'; }
    target/cyclonedx/bin/python packaging/validate.py target/dist/*.cdx.json

# Shell scripts, where shellcheck is installed
scripts:
    @if command -v shellcheck >/dev/null; then shellcheck --severity=warning packaging/*.sh tests/*.sh benches/*.sh .ci/run; else echo "shellcheck is not installed: skipped (apt-get install shellcheck)"; fi

# Workflow files and the action (needs Go, once)
workflows:
    [ -x target/actionlint ] || GOBIN={{justfile_directory()}}/target go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
    target/actionlint

# Objects, patches, port-forwards, helm, images, `sre inspect` and faults on a cluster (SRE_TEST_KUBECONFIG; SRE_TEST_SRE_IMAGE, an image of sre there)
cluster-parts:
    {{tester}} --locked --test cluster --test cluster_view --test helm --test image --test inspect_cluster
    RUST_TEST_THREADS=2 {{tester}} --locked --test cluster_fault -- --skip a_node_is
    {{tester}} --locked --test cluster_fault -- a_node_is

# `up`, `down` and the main job on the real minikube (SRE_TEST_MINIKUBE, a profile that may be created and deleted; SRE_TEST_MIRROR, a mirror of images)
minikube *arguments: static
    program={{static}}; SRE_TEST_STATIC=$program SRE_TEST_PROGRAM=$program {{tester}} --locked --test minikube --test minikube_up -- --test-threads=1 {{arguments}}

# The main job ten times in a row, here and, where there is one, on a cluster; the kill tests many times; every pair of commands at once; clocks that are set; a crash at every system call
soak times="10" kills="200" pairs="20":
    cargo build --release --locked
    ./tests/end-to-end.sh {{times}}
    SRE_SOAK={{kills}} cargo test --locked --test fault -- --nocapture
    SRE_PAIRS={{pairs}} cargo test --locked --test pairs -- --nocapture
    SRE_CLOCKS=20000 cargo test --locked --lib -- no_clock no_course
    just crash-points
    if [ -n "${SRE_TEST_KUBECONFIG:-}" ]; then just soak-cluster {{times}} {{kills}}; else echo "SKIPPED: SRE_TEST_KUBECONFIG names no cluster" >&2; fi

# `sre` killed, or failed, at its n-th system call, for every n (with `step` 7 at every seventh); then everything is as before
crash-points step="1":
    ./tests/crash-points.sh {{step}}

# Every fuzz target, or those named, for so many seconds together: what was tried, and what broke (`fuzz/artifacts/`)
fuzz seconds="60" *targets:
    ./fuzz/run.sh {{seconds}} {{targets}}

# The same on a cluster alone
soak-cluster times="10" kills="200": static
    program={{static}}; export SRE_TEST_STATIC=$program SRE_TEST_PROGRAM=$program; SRE_SOAK={{times}} cargo test --locked --test cluster_run -- --test-threads=1 --nocapture && SRE_SOAK={{kills}} cargo test --locked --test cluster_up -- --test-threads=1 --nocapture
    SRE_SOAK={{kills}} cargo test --locked --test cluster_fault killed_at_any_moment -- --nocapture

# The load generator beside wrk and oha on one server: prints the tables, writes docs/performance.md (about 3 min)
bench: bench-tools
    cargo bench --bench load -- --write {{justfile_directory()}}/docs/performance.md

# What a build takes, of another commit and of this tree in turn: writes the tables into docs/performance.md (about 20 min)
bench-build *commit:
    ./benches/build.sh {{commit}}

# What a request costs in each part: schedule, choice, recorder, merge
bench-parts:
    cargo bench --bench parts

# nginx and wrk, unpacked from the distribution's packages, and oha, built: into the cache, where they are missing
bench-tools:
    ./benches/tools.sh

# A log of times is read by the libraries of Rust, Python, JavaScript, Java and Go, which come from their registries; prints what each read
hlog-readers:
    SRE_TEST_HLOG_READERS=here cargo test --locked --test load_wire -- --nocapture the_log_of_times_is_read_alike

# How far each load generator's total is from what a server counted: writes the tables of docs/counting.md (about 4 min)
bench-counting:
    ./benches/tools.sh counting
    cargo bench --bench counting --profile dev -- --write {{justfile_directory()}}/docs/counting.md
