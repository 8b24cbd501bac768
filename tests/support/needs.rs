//! What tests need that is not everywhere. A test that lacks it is left out, loudly; where `SRE_TEST_STRICT` says that it
//! is there, the test fails instead.
#![allow(dead_code)]

use std::path::PathBuf;

use sre::tools::{Cache, Tool, find};

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

/// The real Loki and the real collector.
pub fn loki_and_collector() -> Option<(PathBuf, PathBuf)> {
    let cache = Cache::of_user().expect("a cache");
    let found = |tool| find(tool, &cache).expect("no wrong name").map(|program| program.path);
    let programs = found(Tool::Loki).zip(found(Tool::Collector));
    if programs.is_none() {
        skipped("logs", "loki and otelcol-k8s are not both on PATH, nor named by SRE_LOKI and SRE_OTELCOL");
    }
    programs
}
