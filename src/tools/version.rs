//! Which version a program is.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

/// Asks a program for its version: `3.15.0`. An error if it cannot be run.
pub async fn version(program: &Path) -> Result<String> {
    let failed = || Error::prerequisite(format!("{} cannot be run", program.display()));
    let run = tokio::process::Command::new(program)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(20), run)
        .await
        .map_err(|_| failed().because_of("`--version` did not end within 20 s"))?
        .map_err(|e| failed().because(e))?;
    // Older ones of the Prometheus family write it to stderr.
    let text = [output.stdout, output.stderr].concat();
    parse(&String::from_utf8_lossy(&text)).ok_or_else(|| {
        failed().because_of(format!("`--version` ended with {} and named no version", output.status))
    })
}

/// The version in `prometheus, version 2.42.0+ds (branch: …`.
fn parse(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("version ")?;
    let version = rest.trim_start_matches(['v', ' ']).split([' ', '(', ',', '\n', '+']).next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_print() {
        let debian = "prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5+deb12u1)\n  build user: x";
        assert_eq!(parse(debian).as_deref(), Some("2.42.0"));
        assert_eq!(
            parse("alertmanager, version 0.31.1 (branch: , revision: unknown)").as_deref(),
            Some("0.31.1")
        );
        assert_eq!(parse("minikube version: v1.37.0\ncommit: abc"), None);
        assert_eq!(parse("usage: prometheus [<flags>]"), None);
    }

    #[tokio::test]
    async fn what_cannot_be_run_is_an_error() {
        let error =
            version(Path::new("/nonexistent/prometheus")).await.expect_err("there is no such program");
        assert!(error.to_string().contains("/nonexistent/prometheus cannot be run"), "{error}");
    }
}
