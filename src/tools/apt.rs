//! The distribution's package, unpacked into the cache: no root, nothing installed, no service.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use super::Cache;
use crate::error::{Error, Result};

/// How long one of the distribution's programs may take.
const BOUND: Duration = Duration::from_secs(600);

/// A program that looks for its files at a place that only root can fill, and that place. It is told
/// another of the same length, relative to where it is started: `usr/share/prometheus` of its package.
const FIXED: (&str, &str, &str) = (
    "usr/bin/prometheus-alertmanager",
    "/usr/share/prometheus/alertmanager",
    "/proc/self/cwd//./././alertmanager",
);

/// The name of a package's folder in the cache.
pub fn key(package: &str) -> String {
    format!("{package}-package")
}

/// A package as the distribution offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its size, in bytes.
    pub size: u64,
}

/// What the distribution offers; `None` where it knows no such package, has no lists, or is not of this kind.
pub async fn offered(name: &str) -> Option<Package> {
    let output = run("apt-cache", &["show", "--no-all-versions", name], None).await.ok()?;
    output.status.success().then(|| parse(name, &String::from_utf8_lossy(&output.stdout))).flatten()
}

fn parse(name: &str, text: &str) -> Option<Package> {
    let field =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    Some(Package { name: name.into(), version: field("Version")?.into(), size: field("Size")?.parse().ok()? })
}

/// Whether this system has the programs that packages are got by.
pub async fn usable() -> bool {
    run("apt-get", &["--version"], None).await.is_ok() && run("dpkg", &["--version"], None).await.is_ok()
}

/// Gets a package and unpacks it into the cache.
pub async fn unpack(package: &str, cache: &Cache) -> Result<()> {
    cache
        .insert(&key(package), |new| async move {
            let work = tempfile::TempDir::new_in(&new)
                .map_err(|e| Error::prerequisite("the cache cannot be written").because(e))?;
            // apt checks the package against the distribution's signed lists.
            checked("apt-get", &["download", package], work.path()).await?;
            let archive = std::fs::read_dir(work.path())
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
                .ok_or_else(|| {
                    Error::prerequisite(format!("`apt-get download {package}` left no package"))
                })?;
            checked("dpkg", &["-x", &archive.to_string_lossy(), &new.to_string_lossy()], work.path()).await?;
            relocate(&new)
        })
        .await
        .map(drop)
}

/// Debian's Alertmanager ends at once if its templates are not in `/usr/share`.
fn relocate(folder: &Path) -> Result<()> {
    let (program, from, to) = FIXED;
    let path = folder.join(program);
    let failed = |e: std::io::Error| {
        Error::prerequisite(format!("{} cannot be made ready", path.display())).because(e)
    };
    if !path.exists() {
        return Ok(());
    }
    let mut bytes = std::fs::read(&path).map_err(failed)?;
    replace_all(&mut bytes, from.as_bytes(), to.as_bytes());
    std::fs::write(&path, bytes).map_err(failed)
}

/// Replaces every occurrence of `from` by `to`, which is of the same length.
fn replace_all(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let mut start = 0;
    while let Some(found) = bytes[start..].windows(from.len()).position(|window| window == from) {
        start += found;
        bytes[start..start + to.len()].copy_from_slice(to);
    }
}

async fn checked(program: &str, arguments: &[&str], folder: &Path) -> Result<()> {
    let what = format!("`{program} {}` failed", arguments[..arguments.len().min(2)].join(" "));
    let output =
        run(program, arguments, Some(folder)).await.map_err(|e| Error::prerequisite(&what).because(e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().filter(|line| line.starts_with("E:")).take(3).collect();
    let why = if last.is_empty() { output.status.to_string() } else { last.join("\n") };
    Err(Error::prerequisite(what).because_of(why).hint("the package lists may be old: sudo apt-get update"))
}

async fn run(program: &str, arguments: &[&str], folder: Option<&Path>) -> std::io::Result<Output> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    tokio::time::timeout(BOUND, command.output()).await.unwrap_or_else(|_| {
        Err(std::io::Error::other(format!("it did not end within {} s", BOUND.as_secs())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_place_is_replaced_everywhere_and_nothing_else_moves() {
        let (_, from, to) = FIXED;
        assert_eq!(from.len(), to.len());
        let mut bytes = format!("a{from}/ui{from}b").into_bytes();
        replace_all(&mut bytes, from.as_bytes(), to.as_bytes());
        assert_eq!(String::from_utf8_lossy(&bytes), format!("a{to}/ui{to}b"));
    }

    #[test]
    fn what_the_distribution_offers_is_read_from_its_lists() {
        let text = "Package: prometheus\nSource: prometheus (1)\nVersion: 2.42.0+ds-5+b5\nInstalled-Size: 95\nSize: 19257088\n";
        let package =
            Package { name: "prometheus".into(), version: "2.42.0+ds-5+b5".into(), size: 19_257_088 };
        assert_eq!(parse("prometheus", text), Some(package));
        assert_eq!(parse("prometheus", "N: No packages found"), None);
    }
}
