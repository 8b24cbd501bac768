//! A stack's folder, on disk or embedded.

use std::path::{Component, Path, PathBuf};

use super::origin::Origin;
use super::shipped::{self, MANIFESTS, STACKS};
use crate::config;
use crate::error::{Error, Result};

/// A stack's folder, on disk or embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Folder {
    Shipped(String),
    Disk(PathBuf),
}

impl Folder {
    /// The stack's name: that of the folder.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Folder::Shipped(name) => Some(name.clone()),
            Folder::Disk(path) => {
                // `.` and `..` have a name only when they are followed.
                let path = path.canonicalize().ok()?;
                Some(path.file_name()?.to_string_lossy().into_owned())
            }
        }
    }

    pub(super) fn origin(&self) -> Origin {
        match self {
            Folder::Shipped(_) => Origin::Shipped,
            Folder::Disk(path) => Origin::Path(path.clone()),
        }
    }

    /// What a file of the folder is called on screens.
    pub(super) fn shown(&self, relative: &str) -> String {
        match self {
            Folder::Shipped(name) => format!("stacks/{name}/{relative} (shipped)"),
            Folder::Disk(path) => path.join(relative).display().to_string(),
        }
    }

    /// Where it is; `None` for an embedded one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Folder::Shipped(_) => None,
            Folder::Disk(path) => Some(path),
        }
    }

    /// The text of a file of the folder. A missing file, and one outside of the folder, is a usage error.
    pub(super) fn read(&self, relative: &str) -> Result<String> {
        if !is_inside(relative) {
            return Err(Error::usage(format!("{relative} does not lie in the folder of the stack")));
        }
        match self {
            Folder::Disk(path) => config::read(&path.join(relative)),
            Folder::Shipped(name) => shipped::text(&STACKS, &format!("{name}/{relative}"))
                .map(str::to_owned)
                .ok_or_else(|| Error::usage(format!("there is no file {}", self.shown(relative)))),
        }
    }

    /// The text of a file of `manifests/`: beside the folder of stacks, then in the current folder, then embedded.
    pub(super) fn read_manifest(&self, relative: &str) -> Result<String> {
        if !is_inside(relative) {
            return Err(Error::usage(format!("{relative} does not lie in manifests/")));
        }
        let beside = match self {
            Folder::Disk(path) => Some(path.join("../../manifests").join(relative)),
            Folder::Shipped(_) => None,
        };
        let here = Path::new("manifests").join(relative);
        if let Some(found) = beside.into_iter().chain([here]).find(|path| path.is_file()) {
            return config::read(&found);
        }
        shipped::text(&MANIFESTS, relative)
            .map(str::to_owned)
            .ok_or_else(|| Error::usage(format!("there is no file manifests/{relative}")))
    }
}

fn is_inside(relative: &str) -> bool {
    Path::new(relative).components().all(|part| matches!(part, Component::Normal(_)))
}
