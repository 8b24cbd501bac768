//! Feeds one of the functions of `sre::fuzzing` with what libFuzzer thinks of: the one that `SRE_FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sre::fuzzing::{TARGETS, Target};

static CHOSEN: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("SRE_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    found.unwrap_or_else(|| panic!("SRE_FUZZ_TARGET is one of {}", names.join(", "))).1
});

fuzz_target!(|data: &[u8]| CHOSEN(data));
