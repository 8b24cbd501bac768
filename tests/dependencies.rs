//! Licences, sources and bans of `deny.toml`, held against what Cargo.lock brings: cargo-deny takes minutes to build and is
//! not everywhere. Its advisories are left to it (`just deny`).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

const DENY: &str = include_str!("../deny.toml");

/// The texts in a list of `deny.toml`, such as `allow` in `[licenses]`.
fn list(section: &str, key: &str) -> Vec<String> {
    let (_, after) = DENY.split_once(&format!("[{section}]\n")).unwrap();
    let body = after.split("\n[").next().unwrap();
    let (_, after) = body.split_once(&format!("\n{key} = [")).unwrap();
    let list = after.split_once(']').unwrap().0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every package that can be in a build, on any platform.
fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be met by allowed licences alone. An old `/` is an `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest, allowed);
    met && rest.is_empty()
}

fn any(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = all(words, allowed);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any(words, allowed);
            let [")", rest @ ..] = words else { return false };
            *words = rest;
            met
        }
        [name, "WITH", exception, rest @ ..] => {
            let name = format!("{name} WITH {exception}");
            *words = rest;
            allowed.contains(&name)
        }
        [name, rest @ ..] => {
            let name = (*name).to_owned();
            *words = rest;
            allowed.contains(&name)
        }
        [] => false,
    }
}

#[test]
fn every_dependency_has_a_licence_a_source_and_a_name_that_are_allowed() {
    let (licences, banned, registries) =
        (list("licenses", "allow"), list("bans", "deny"), list("sources", "allow-registry"));
    assert!(licences.len() > 3 && banned.len() > 2 && registries.len() == 1);
    let packages = packages();
    assert!(packages.len() > 100, "{}", packages.len());
    let mut wrong = BTreeSet::new();
    for package in &packages {
        let name = format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_met(licence, &licences) {
            wrong.insert(format!("{name}: licence `{licence}`"));
        }
        // What has no source is this project.
        if let Some(source) = package["source"].as_str()
            && !registries.iter().any(|registry| source == format!("registry+{registry}"))
        {
            wrong.insert(format!("{name}: source {source}"));
        }
        if banned.iter().any(|banned| package["name"] == banned.as_str()) {
            wrong.insert(format!("{name} is banned"));
        }
    }
    assert_eq!(wrong, BTreeSet::new());
    let own = packages.iter().find(|package| package["name"] == "sre").unwrap();
    for dependency in own["dependencies"].as_array().unwrap() {
        assert_ne!(dependency["req"], "*", "{} is of any version", dependency["name"]);
    }
}

#[test]
fn an_expression_is_met_by_allowed_licences_alone() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("ISC AND (GPL-2.0 OR GPL-3.0)", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("(MIT", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
