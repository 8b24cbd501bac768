# What CI runs, and what a developer runs before a commit. `just --list` shows all.

export CARGO_TERM_COLOR := env("CARGO_TERM_COLOR", "auto")

# Everything that CI runs
ci: format lint test docs deny end-to-end

# Formatting is as rustfmt has it
format:
    cargo fmt --check

# Clippy, warnings denied
lint:
    cargo clippy --all-targets --locked -- -D warnings

# Unit tests and integration tests, with the real Prometheus and Alertmanager; most of them wait for a scrape
test:
    RUST_TEST_THREADS=6 cargo test --locked

# The documentation builds without a warning
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Licences and advisories, where cargo-deny is installed
deny:
    @if command -v cargo-deny >/dev/null; then cargo deny --offline check licenses bans sources; else echo "cargo-deny is not installed: skipped (cargo install cargo-deny)"; fi

# The main job, once, as a stranger runs it
end-to-end:
    cargo build --release --locked
    ./tests/end-to-end.sh

# The main job on a cluster (SRE_TEST_KUBECONFIG, SRE_TEST_IMAGE_LOADER), from a static build
cluster:
    RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo build --release --locked --target x86_64-unknown-linux-gnu --bin sre
    program={{justfile_directory()}}/target/x86_64-unknown-linux-gnu/release/sre; SRE_TEST_STATIC=$program SRE_TEST_PROGRAM=$program cargo test --locked --test cluster_run -- --test-threads=1

# Objects, patches, port-forwards, helm and faults on a cluster (SRE_TEST_KUBECONFIG; SRE_TEST_SRE_IMAGE, an image of sre there)
cluster-parts:
    cargo test --locked --test cluster --test helm
    RUST_TEST_THREADS=2 cargo test --locked --test cluster_fault -- --skip a_node_is
    cargo test --locked --test cluster_fault -- a_node_is

# The main job ten times in a row, and the kill tests many times
soak times="10":
    cargo build --release --locked
    ./tests/end-to-end.sh {{times}}
    SRE_SOAK=200 cargo test --locked --test fault -- --nocapture
    SRE_SOAK=200 cargo test --locked --test cluster_fault killed_at_any_moment -- --nocapture

# Figures: pacing, omission, memory, start-up
bench:
    cargo bench --bench load
    cargo bench --bench parts
