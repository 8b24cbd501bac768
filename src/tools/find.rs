//! Where a tool is: named by the environment, on PATH, or in the cache.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

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

/// Finds a tool; downloads nothing. An error only where its environment variable names no program.
pub fn find(tool: Tool, cache: &Cache) -> Result<Option<Program>> {
    let named = std::env::var_os(tool.variable()).filter(|value| !value.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    find_with(tool, cache, named.as_deref(), &path)
}

fn find_with(tool: Tool, cache: &Cache, named: Option<&OsStr>, path: &OsStr) -> Result<Option<Program>> {
    let found = |path: PathBuf, origin| Some(Program { tool, path, origin });
    if let Some(named) = named {
        // Who names a program wants that one and no other.
        let program = std::path::absolute(named).unwrap_or_else(|_| named.into());
        if !is_program(&program) {
            return Err(Error::prerequisite(format!(
                "{}={} names no program",
                tool.variable(),
                named.display()
            ))
            .hint(format!("name the program of {tool}, or: unset {}", tool.variable())));
        }
        return Ok(found(program, Origin::Environment));
    }
    for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
        if let Some(program) = first_program(&folder, tool) {
            return Ok(found(program, Origin::Path));
        }
    }
    if let Some(release) = Release::of(tool)
        && let Some(program) = first_program(&cache.entry(&release.stem(&platform())), tool)
    {
        return Ok(found(program, Origin::Release));
    }
    if let Some(package) = tool.package()
        && let Some(program) = first_program(&cache.entry(&apt::key(package)).join("usr/bin"), tool)
    {
        return Ok(found(program, Origin::Package));
    }
    Ok(None)
}

fn first_program(folder: &Path, tool: Tool) -> Option<PathBuf> {
    tool.programs().iter().map(|name| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "").expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    #[test]
    fn the_environment_comes_before_path_before_the_release_before_the_package() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"));
        let bin = folder.path().join("bin");
        let find = |named: Option<&Path>| {
            find_with(Tool::NodeExporter, &cache, named.map(Path::as_os_str), bin.as_os_str())
                .expect("no wrong name")
                .map(|program| program.origin)
        };
        assert_eq!(find(None), None);
        program(&cache.entry("prometheus-node-exporter-package/usr/bin/prometheus-node-exporter"));
        assert_eq!(find(None), Some(Origin::Package));
        let release = Release::of(Tool::NodeExporter).expect("a release").stem(&platform());
        program(&cache.entry(&release).join("node_exporter"));
        assert_eq!(find(None), Some(Origin::Release));
        program(&bin.join("prometheus-node-exporter"));
        assert_eq!(find(None), Some(Origin::Path));
        program(&folder.path().join("mine"));
        assert_eq!(find(Some(&folder.path().join("mine"))), Some(Origin::Environment));
    }

    #[test]
    fn a_wrong_name_in_the_environment_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().to_path_buf());
        fs::write(folder.path().join("data"), "no program").expect("a file");
        for wrong in [folder.path().join("data"), folder.path().join("nothing"), folder.path().to_path_buf()]
        {
            let error = find_with(Tool::Prometheus, &cache, Some(wrong.as_os_str()), OsStr::new(""))
                .expect_err("it names no program");
            assert!(error.to_string().contains("SRE_PROMETHEUS="), "{error}");
        }
    }
}
