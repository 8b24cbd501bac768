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

# Unit tests and integration tests, with the real Prometheus and Alertmanager
test:
    cargo test --locked

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

# The main job ten times in a row, and the kill tests many times
soak times="10":
    cargo build --release --locked
    ./tests/end-to-end.sh {{times}}
    SRE_SOAK=200 cargo test --locked --test fault -- --nocapture

# Figures: pacing, omission, memory, start-up
bench:
    cargo bench --bench load
    cargo bench --bench parts
