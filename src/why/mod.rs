//! Why something is not seen: walks the chain to it link by link, and names the first that is broken with what mends it.
//!
//! What each link rests on is what checks, `sre doctor` and `sre inspect` look at, too. Each chain has a pure half, facts
//! in and links out, and a half that asks.

mod alert;
mod chain;
mod exposition;
mod kubernetes;
mod line;
mod look;
mod metric;
mod name;
mod notification;
mod page;
mod relabel;
mod target;

pub use chain::{Chain, Link, SCHEMA, State, Walk, Whole};

use crate::check::Subject;
use crate::error::Result;
use crate::stack::Stack;
use crate::target::kubernetes::client::Cluster;
use crate::target::{Folder, Lab};

/// Where the chain is.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// What is up, with its endpoints as they are now.
    pub lab: &'a Lab,
    /// Its stack, where its file can be read.
    pub stack: Option<&'a Stack>,
    /// The names of its alert rules.
    pub rules: &'a [String],
    /// Its cluster, where it is on one.
    pub cluster: Option<&'a Cluster>,
    /// Its folder.
    pub state: &'a Folder,
}

/// Walks the chain to a subject.
///
/// # Errors
/// Usage (exit 2) where its name cannot be read, a prerequisite (exit 5) where credentials are not in the environment.
pub async fn walk(place: &Place<'_>, subject: &Subject) -> Result<Chain> {
    crate::observe::ensure_credentials(&place.lab.endpoints)?;
    let mut walk = Walk::default();
    match subject {
        Subject::Target(name) => target::walk(place, name, &mut walk).await?,
        Subject::Metric(name) => metric::walk(place, name, &mut walk).await?,
        Subject::Alert(name) => {
            alert::walk(place, name, &mut walk).await?;
        }
        Subject::Notification(name) => notification::walk(place, name, &mut walk).await?,
        Subject::Line(text) => line::walk(place, text, &mut walk).await?,
    }
    let (kind, name) = subject.parts();
    Ok(walk.chain(kind, name))
}
