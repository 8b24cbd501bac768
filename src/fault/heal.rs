//! Undoing one fault.

use super::{Entry, Journal, State};
use crate::error::{Error, Result};

/// Undoes a fault and removes its entry. What could be undone of it is undone even where another part
/// could not, and the entry stays then, telling why. The journal's lock must be held.
pub(super) async fn heal(journal: &Journal, entry: &Entry) -> Result<()> {
    let mut failed: Option<Error> = None;
    for touched in &entry.touched {
        if let Err(error) = touched.heal(journal, &entry.id).await {
            failed.get_or_insert(error);
        }
    }
    let Some(error) = failed else { return journal.remove(&entry.id) };
    let kept = Entry { state: State::Failed, error: Some(error.to_string()), ..entry.clone() };
    // Where even that cannot be written, the entry as it was still tells what to undo.
    let _ = journal.write(kept);
    Err(error)
}

/// Those that touch processes first: a paused or killed process answers no admin port.
pub(super) fn in_order<T>(faults: &mut [T], entry: impl Fn(&T) -> &Entry) {
    faults.sort_by_key(|fault| !entry(fault).touched.iter().any(super::Touched::is_process));
}
