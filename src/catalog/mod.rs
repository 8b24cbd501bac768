//! The stacks and scenarios that there are: those of this folder before those embedded in the program.

mod entries;
mod folder;
mod origin;
mod scenarios;
mod shipped;
mod stacks;
mod validate;

use std::path::PathBuf;

use crate::error::Result;
use crate::target::TargetKind;

pub use entries::{Entries, ScenarioEntry, StackEntry};
pub use origin::Origin;
pub use scenarios::{LoadedScenario, parse_scenario};
pub use shipped::{ShippedFile, shipped_files};
pub use stacks::LoadedStack;
pub use validate::Validated;

/// Where stacks and scenarios are looked for: a folder, then what is embedded.
#[derive(Debug, Clone)]
pub struct Catalog {
    root: PathBuf,
}

impl Catalog {
    /// Looks in this folder first.
    pub fn at(root: impl Into<PathBuf>) -> Catalog {
        Catalog { root: root.into() }
    }

    /// Looks in the current folder first.
    pub fn here() -> Catalog {
        Catalog::at(".")
    }
}

/// [`Catalog::scenario`] of the current folder.
pub fn scenario(name_or_path: &str) -> Result<LoadedScenario> {
    Catalog::here().scenario(name_or_path)
}

/// [`Catalog::stack`] of the current folder.
pub fn stack(name: &str, set: &[(String, String)]) -> Result<LoadedStack> {
    Catalog::here().stack(name, set)
}

/// [`Catalog::stack_on`] of the current folder.
pub fn stack_on(target: TargetKind, name: &str, set: &[(String, String)]) -> Result<LoadedStack> {
    Catalog::here().stack_on(target, name, set)
}

/// [`Catalog::entries`] of the current folder.
pub fn list() -> Entries {
    Catalog::here().entries()
}
