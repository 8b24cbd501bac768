//! What tests need that is not everywhere. A test that lacks it is left out, loudly; where `SRE_TEST_STRICT` says that it
//! is there, the test fails instead.
#![allow(dead_code)]

use std::path::PathBuf;

use sre::tools::{Cache, Tool};

/// Says that a test is left out.
///
/// `SRE_TEST_STRICT` names the parts whose tests must not be left out, such as `logs prometheus`, or says `all`.
///
/// # Panics
/// Where `SRE_TEST_STRICT` names the part.
#[allow(clippy::print_stderr)]
pub fn skipped(part: &str, why: &str) {
    let strict = std::env::var("SRE_TEST_STRICT").unwrap_or_default();
    let must = strict.split_whitespace().any(|name| name == part || name == "all");
    assert!(!must, "SRE_TEST_STRICT={strict} forbids that this is left out: {why}");
    eprintln!("SKIPPED: {why}");
}

/// The value of an environment variable that a part's tests need; `what` tells what it names.
pub fn variable(part: &str, name: &str, what: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        skipped(part, &format!("{name} names no {what}"));
    }
    value
}

/// The real Loki, where `SRE_LOKI` names it. `SRE_TEST_STRICT` does not demand it: few machines have one.
#[allow(clippy::print_stderr)]
pub fn loki() -> Option<PathBuf> {
    let named = std::env::var_os("SRE_LOKI").filter(|path| !path.is_empty());
    if named.is_none() {
        eprintln!("SKIPPED: SRE_LOKI names no Loki: this is not tested with the real one");
    }
    named.map(PathBuf::from)
}

/// The real collector.
pub fn collector() -> Option<PathBuf> {
    let found = found(Tool::Collector);
    if found.is_none() {
        skipped("logs", "otelcol-k8s is not on PATH, nor named by SRE_OTELCOL");
    }
    found
}

/// The real Loki and the real collector.
pub fn loki_and_collector() -> Option<(PathBuf, PathBuf)> {
    loki().zip(collector())
}

/// A tool that is here already. On a thread of its own: the test may have a runtime.
fn found(tool: Tool) -> Option<PathBuf> {
    let look = move || {
        let cache = Cache::of_user().expect("a cache");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let search = runtime.block_on(sre::tools::find(tool, &cache)).expect("no wrong name");
        search.program.map(|program| program.path)
    };
    std::thread::spawn(look).join().expect("it is looked for")
}
