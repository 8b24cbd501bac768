//! Undoing one fault.

use std::time::Duration;

use super::kubernetes::Place;
use super::{Entry, Journal, State};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::target::kubernetes::client::Cluster;

/// How long a cluster may take to answer a command that has something else to do.
const BRIEF: Duration = Duration::from_secs(5);

/// How long a cluster is waited for while a fault is undone, and whether that can be interrupted.
#[derive(Debug, Clone)]
pub(super) enum Patience {
    /// As long as its calls may take; nothing interrupts the undoing of one's own fault.
    Thorough,
    /// As long as its calls may take, or until Ctrl-C.
    Asked(Interrupt),
    /// For a moment, or until Ctrl-C: the command was called for something else.
    Brief(Interrupt),
}

impl Patience {
    /// Connects to the cluster of a fault.
    ///
    /// # Errors
    /// As for [`Place::connect`]; the target (exit 6) where it takes too long; interrupted (129 to 143).
    pub async fn connect(&self, place: &Place) -> Result<Cluster> {
        let late = |_| {
            Error::target(format!("the cluster of context `{}` does not answer", place.context))
                .because_of(format!("it was asked for {} s", BRIEF.as_secs()))
                .hint("sre heal tries for longer")
        };
        match self {
            Patience::Thorough => place.connect().await,
            Patience::Asked(interrupt) => interrupt.or(place.connect()).await?,
            Patience::Brief(interrupt) => {
                interrupt.or(tokio::time::timeout(BRIEF, place.connect())).await?.map_err(late)?
            }
        }
    }
}

/// Undoes a fault and removes its entry. What could be undone of it is undone even where another part
/// could not, and the entry stays then, telling why. The journal's lock must be held.
pub(super) async fn heal(journal: &Journal, entry: &Entry, patience: &Patience) -> Result<()> {
    let mut failed: Option<Error> = None;
    for touched in &entry.touched {
        if let Err(error) = touched.heal(journal, &entry.id, patience).await {
            failed.get_or_insert(error);
        }
    }
    let Some(error) = failed else { return journal.remove(&entry.id) };
    // Who has interrupted it has not found out whether it can be undone.
    if error.exit().is_interruption() {
        return Err(error);
    }
    let kept = Entry { state: State::Failed, error: Some(error.to_string()), ..entry.clone() };
    // Where even that cannot be written, the entry as it was still tells what to undo.
    let _ = journal.write(kept);
    Err(error)
}

/// Those that touch processes first: a paused or killed process answers no admin port.
pub(super) fn in_order<T>(faults: &mut [T], entry: impl Fn(&T) -> &Entry) {
    faults.sort_by_key(|fault| !entry(fault).touched.iter().any(super::Touched::is_process));
}
