//! Where a tool is: named by the environment, on PATH, or in the cache.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cache::blocking;
use super::version::identify;
use super::versions::{Release, platform};
use super::{Cache, Tool, apt};
use crate::error::{Error, Result};

/// A tool that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The tool.
    pub tool: Tool,
    /// Its program.
    pub path: PathBuf,
    /// Where it was found.
    pub origin: Origin,
    /// Its version, as it told it: `3.15.0`.
    pub version: String,
}

/// Where a tool was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Named by its environment variable.
    Environment,
    /// On PATH.
    Path,
    /// In the cache, from an official release or a mirror of it.
    Release,
    /// In the cache, from the distribution's package.
    Package,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Origin::Environment => "named by the environment",
            Origin::Path => "on PATH",
            Origin::Release => "official release, in the cache",
            Origin::Package => "the distribution's package, in the cache",
        })
    }
}

/// What a search for a tool came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The first program that is the tool, tells its version and is new enough.
    pub program: Option<Program>,
    /// Programs of the right name that came before it and are not: a sentence each, which begins with the path.
    pub passed_over: Vec<String>,
}

/// Finds a tool; downloads nothing. Each candidate is asked for its version, and a cached one is held against the
/// digest that was written when it was got.
///
/// # Errors
/// A prerequisite (exit 5) only where its environment variable names no program, or not this one.
pub async fn find(tool: Tool, cache: &Cache) -> Result<Search> {
    let named = std::env::var_os(tool.variable()).filter(|value| !value.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_with(tool, cache, named.as_deref(), &path).await
}

async fn find_with(tool: Tool, cache: &Cache, named: Option<&OsStr>, path: &OsStr) -> Result<Search> {
    if let Some(named) = named {
        let program = named_program(tool, named).await?;
        return Ok(Search { program: Some(program), passed_over: Vec::new() });
    }
    let mut passed_over = Vec::new();
    for (path, origin) in on_path(tool, path).into_iter().map(|path| (path, Origin::Path)) {
        match identify(tool, &path).await {
            Ok(version) => {
                let program = Some(Program { tool, path, origin, version });
                return Ok(Search { program, passed_over });
            }
            Err(why) => passed_over.push(format!("{} {why}", path.display())),
        }
    }
    for (key, folder, origin) in in_cache(tool) {
        let (held, name) = match cached(tool, cache, key.clone(), folder).await? {
            Some(found) => found,
            None => continue,
        };
        let judged = match held {
            Ok(path) => identify(tool, &path).await.map(|version| (path, version)),
            Err(why) => Err(why),
        };
        match judged {
            Ok((path, version)) => {
                let program = Some(Program { tool, path, origin, version });
                return Ok(Search { program, passed_over });
            }
            Err(why) => passed_over.push(format!("{} {why}", cache.entry(&key).join(name).display())),
        }
    }
    Ok(Search { program: None, passed_over })
}

/// Who names a program wants that one and no other.
async fn named_program(tool: Tool, named: &OsStr) -> Result<Program> {
    let wrong = |why: String| {
        Error::prerequisite(format!("{}={} {why}", tool.variable(), named.display()))
            .hint(format!("name the program of {tool}, or have one looked for: unset {}", tool.variable()))
    };
    let path = std::path::absolute(named).unwrap_or_else(|_| named.into());
    if !is_program(&path) {
        return Err(wrong("names no program".into()));
    }
    let version = identify(tool, &path).await.map_err(wrong)?;
    Ok(Program { tool, path, origin: Origin::Environment, version })
}

fn on_path(tool: Tool, path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .flat_map(|folder| tool.programs().iter().map(move |name| folder.join(name)))
        .filter(|path| is_program(path))
        .collect()
}

/// The entries of the cache that a tool may be in, and in which of their folders.
fn in_cache(tool: Tool) -> Vec<(String, &'static str, Origin)> {
    let release = Release::of(tool).map(|release| (release.stem(&platform()), "", Origin::Release));
    let package = tool.package().map(|package| (apt::key(package), "usr/bin/", Origin::Package));
    release.into_iter().chain(package).collect()
}

/// A tool's program in an entry of the cache, held against its digest; and its name there. `None` where none is there.
async fn cached(
    tool: Tool,
    cache: &Cache,
    key: String,
    folder: &'static str,
) -> Result<Option<(Result<PathBuf, String>, String)>> {
    let cache = cache.clone();
    blocking(move || {
        let names = tool.programs().iter().map(|name| format!("{folder}{name}"));
        names.into_iter().find_map(|name| match cache.file(&key, &name) {
            Ok(Some(path)) => Some((Ok(path), name)),
            Ok(None) => None,
            Err(why) => Some((Err(why), name)),
        })
    })
    .await
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A program that tells this as its version.
    fn program(path: &Path, told: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, format!("#!/bin/sh\necho '{told}'\n")).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    async fn put(cache: &Cache, key: &str, name: &'static str) {
        let fill = |new: PathBuf| async move {
            program(&new.join(name), "node_exporter, version 1.5.0");
            Ok(())
        };
        cache.insert(key, &crate::interrupt::Interrupt::default(), || (), fill).await.expect("an entry");
    }

    #[tokio::test]
    async fn the_environment_comes_before_path_before_the_release_before_the_package() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        let bin = folder.path().join("bin");
        let find = async |named: Option<&Path>| {
            let found = find_with(Tool::NodeExporter, &cache, named.map(Path::as_os_str), bin.as_os_str());
            found.await.expect("no wrong name").program.map(|program| program.origin)
        };
        assert_eq!(find(None).await, None);
        put(&cache, "prometheus-node-exporter-package", "usr/bin/prometheus-node-exporter").await;
        assert_eq!(find(None).await, Some(Origin::Package));
        let release = Release::of(Tool::NodeExporter).expect("a release").stem(&platform());
        put(&cache, &release, "node_exporter").await;
        assert_eq!(find(None).await, Some(Origin::Release));
        program(&bin.join("prometheus-node-exporter"), "node_exporter, version 1.6.0");
        assert_eq!(find(None).await, Some(Origin::Path));
        program(&folder.path().join("mine"), "node_exporter, version 1.7.0");
        assert_eq!(find(Some(&folder.path().join("mine"))).await, Some(Origin::Environment));
    }

    #[tokio::test]
    async fn a_program_that_is_another_one_is_passed_over_and_the_next_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        // What Debian's package `loki`, a program of genetics, prints.
        program(&folder.path().join("one/loki"), "loki 2.4.7_4");
        program(&folder.path().join("two/loki"), "loki, version 3.7.8 (branch: HEAD, revision: x)");
        let path = std::env::join_paths([folder.path().join("one"), folder.path().join("two")]);
        let path = path.expect("a PATH");
        let found = find_with(Tool::Loki, &cache, None, &path).await.expect("no wrong name");
        assert_eq!(found.program.map(|program| program.version).as_deref(), Some("3.7.8"));
        let [passed] = found.passed_over.try_into().expect("one is passed over");
        assert!(passed.contains("one/loki is not loki"), "{passed}");

        // Where the user named it, it is an error.
        let named = folder.path().join("one/loki");
        let error = find_with(Tool::Loki, &cache, Some(named.as_os_str()), &path).await;
        let error = error.expect_err("it is not Loki").to_string();
        assert!(error.contains("SRE_LOKI=") && error.contains("is not loki"), "{error}");
    }

    #[tokio::test]
    async fn a_cached_program_that_was_changed_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        put(&cache, "prometheus-node-exporter-package", "usr/bin/prometheus-node-exporter").await;
        let path = cache.entry("prometheus-node-exporter-package/usr/bin/prometheus-node-exporter");
        program(&path, "node_exporter, version 9.9.9");
        let found = find_with(Tool::NodeExporter, &cache, None, OsStr::new("")).await.expect("a search");
        assert_eq!(found.program, None);
        assert!(found.passed_over[0].ends_with("has changed since it was got"), "{:?}", found.passed_over);
    }

    #[tokio::test]
    async fn a_wrong_name_in_the_environment_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().to_path_buf());
        fs::write(folder.path().join("data"), "no program").expect("a file");
        for wrong in [folder.path().join("data"), folder.path().join("nothing"), folder.path().to_path_buf()]
        {
            let error = find_with(Tool::Prometheus, &cache, Some(wrong.as_os_str()), OsStr::new(""))
                .await
                .expect_err("it names no program");
            assert!(error.to_string().contains("SRE_PROMETHEUS="), "{error}");
        }
    }
}
