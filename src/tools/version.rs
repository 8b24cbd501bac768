//! Which program this is, and which version of it.

use std::path::Path;
use std::time::Duration;

use super::Tool;
use crate::error::{Error, Result};

/// How long a program may take to tell its version.
const BOUND: Duration = Duration::from_secs(20);

/// Asks a program for its version: `3.15.0`.
///
/// # Errors
/// A prerequisite (exit 5): it cannot be run, or tells none.
pub async fn version(program: &Path) -> Result<String> {
    let failed = || Error::prerequisite(format!("{} cannot be run", program.display()));
    let text = ask(program).await.map_err(|why| failed().because_of(why))?;
    parse(&text)
        .map(|(_, version)| version.to_owned())
        .ok_or_else(|| failed().because_of("`--version` named no version"))
}

/// The version of a tool's program, if it is that tool and new enough.
///
/// # Errors
/// Why it must be passed over, in words that go on from its path.
pub async fn identify(tool: Tool, program: &Path) -> Result<String, String> {
    judge(tool, &ask(program).await?)
}

fn judge(tool: Tool, text: &str) -> Result<String, String> {
    let other = || {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let shown: String = first.trim().chars().filter(|c| !c.is_control()).take(60).collect();
        match shown.is_empty() {
            true => format!("is not {tool}, or tells no version: `--version` says nothing"),
            false => format!("is not {tool}, or tells no version: `--version` says \"{shown}\""),
        }
    };
    let (name, version) = parse(text).ok_or_else(other)?;
    // Distributions rename programs, and a collector may be built under any name; what they tell is their own.
    let same = match tool {
        Tool::Collector => name.starts_with("otelcol"),
        _ => name == tool.name(),
    };
    if !same {
        return Err(other());
    }
    match tool.oldest() {
        Some((major, minor)) if is_older(version, (major, minor)) => {
            Err(format!("is {tool} {version}, and {major}.{minor} or newer is needed"))
        }
        _ => Ok(version.to_owned()),
    }
}

/// What `--version` writes, in at most 20 s.
async fn ask(program: &Path) -> Result<String, String> {
    let run = tokio::process::Command::new(program)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(BOUND, run)
        .await
        .map_err(|_| format!("`--version` did not end within {} s", BOUND.as_secs()))?
        .map_err(|e| format!("cannot be run: {e}"))?;
    // Older ones of the Prometheus family write it to stderr.
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The name and the version in `prometheus, version 2.42.0+ds (branch: …` or `otelcol-k8s version 0.160.0`.
fn parse(text: &str) -> Option<(&str, &str)> {
    let (before, rest) = text.split_once("version ")?;
    let name = before.lines().last()?.trim().trim_end_matches(',');
    let version = rest.trim_start_matches(['v', ' ']).split([' ', '(', ',', '\n', '+']).next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then_some((name, version))
}

fn is_older(version: &str, than: (u64, u64)) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < than,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_print() {
        let debian = "prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5+deb12u1)\n  build user: x";
        assert_eq!(parse(debian), Some(("prometheus", "2.42.0")));
        assert_eq!(
            parse("alertmanager, version 0.31.1 (branch: , revision: unknown)"),
            Some(("alertmanager", "0.31.1"))
        );
        assert_eq!(parse("minikube version: v1.37.0\ncommit: abc"), None);
        assert_eq!(parse("usage: prometheus [<flags>]"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(is_older("2.9.0", (2, 42)) && is_older("2.41.3", (2, 42)));
        assert!(!is_older("2.42.0", (2, 42)) && !is_older("3.0.0", (2, 42)));
    }

    #[test]
    fn a_program_is_known_by_what_it_tells_and_not_by_its_file_name() {
        let node_exporter = "node_exporter, version 1.5.0 (branch: debian/sid, revision: 1.5.0-1+b6)";
        assert_eq!(judge(Tool::NodeExporter, node_exporter).as_deref(), Ok("1.5.0"));
        assert_eq!(judge(Tool::Collector, "otelcol-contrib version 0.160.0").as_deref(), Ok("0.160.0"));
        assert_eq!(judge(Tool::Loki, "loki, version 3.7.8 (branch: HEAD)").as_deref(), Ok("3.7.8"));

        // Debian's package `loki` is a program of genetics; this is what 2.4.7 prints.
        let genetics = "lk/usr/bin/loki: invalid option -- '-'\nloki 2.4.7_4\n";
        let why = judge(Tool::Loki, genetics).expect_err("it is another program");
        assert!(why.starts_with("is not loki, or tells no version"), "{why}");
        // A node exporter that was built without its version.
        let nameless = "node_exporter, version  (branch: , revision: unknown)";
        assert!(judge(Tool::NodeExporter, nameless).is_err());
        assert!(judge(Tool::Prometheus, "promtool, version 2.42.0").is_err());
        assert!(judge(Tool::Prometheus, "").is_err_and(|why| why.ends_with("says nothing")));
        let old = judge(Tool::Prometheus, "prometheus, version 2.31.2").expect_err("it is too old");
        assert_eq!(old, "is prometheus 2.31.2, and 2.42 or newer is needed");
    }

    #[tokio::test]
    async fn what_cannot_be_run_is_an_error() {
        let error =
            version(Path::new("/nonexistent/prometheus")).await.expect_err("there is no such program");
        assert!(error.to_string().contains("/nonexistent/prometheus cannot be run"), "{error}");
    }
}
