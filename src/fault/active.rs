//! The faults that this process has injected. What is still active when they are dropped, by an error,
//! a panic or a cancelled task, is undone then and there.

use super::heal::{Patience, heal, in_order};
use super::kubernetes::Keeper;
use super::{Entry, Held, Journal, State};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// The faults that this process has injected and not yet undone.
#[derive(Debug)]
pub(super) struct Active {
    journal: Journal,
    held: Vec<Held>,
    /// What holds a fault that lasts as long as a connection, by the fault's id.
    keepers: Vec<(String, Keeper)>,
    /// Those that were undone, and may have to settle.
    undone: Vec<Entry>,
}

impl Active {
    /// None yet.
    pub fn new(journal: &Journal) -> Active {
        Active { journal: journal.clone(), held: Vec::new(), keepers: Vec::new(), undone: Vec::new() }
    }

    /// Writes an entry and does what it says. From the moment it is written it is active, also where
    /// doing it failed half-way, or an interruption ended a wait for others.
    pub async fn inject(&mut self, entry: Entry, interrupt: &Interrupt) -> Result<()> {
        let _lock = self.journal.lock().await?;
        self.restore(&entry.id);
        self.held.push(self.journal.write(entry.clone())?);
        for touched in &entry.touched {
            let keepers = touched.inject(&self.journal, interrupt).await?;
            self.keepers.extend(keepers.into_iter().map(|keeper| (entry.id.clone(), keeper)));
        }
        self.hold(self.journal.write(Entry { state: State::Injected, ..entry })?);
        Ok(())
    }

    /// Takes the place of the hold on the entry as it was.
    fn hold(&mut self, held: Held) {
        self.held.retain(|known| known.entry.id != held.entry.id);
        self.held.push(held);
    }

    /// Writes anew what somebody has deleted from the journal of the other faults that are active, because what is left
    /// on a replica that several are on follows from the journal, and so does what the next command undoes if this
    /// process is killed. The journal's lock must be held.
    fn restore(&mut self, but: &str) {
        let gone = |held: &Held| held.entry.id != but && !self.journal.contains(&held.entry.id);
        let gone: Vec<Entry> =
            self.held.iter().filter(|held| gone(held)).map(|held| held.entry.clone()).collect();
        for entry in gone {
            let description = entry.description.clone();
            match self.journal.write(entry) {
                Ok(held) => self.hold(held),
                Err(error) => self
                    .journal
                    .terminal()
                    .warn(format!("the entry of {description} is gone and cannot be written anew: {error}")),
            }
        }
    }

    /// Undoes a fault, by what this process knows of it: also where its entry is gone from the journal, because
    /// somebody deleted it. One that `sre heal --force` has undone already is no error. It is not active any
    /// more afterwards: one that could not be undone is left to the next command.
    pub async fn heal(&mut self, id: &str) -> Result<()> {
        let Some(entry) = self.held.iter().map(|held| &held.entry).find(|entry| entry.id == id).cloned()
        else {
            return Ok(());
        };
        self.keepers.retain(|(of, _)| of != id);
        let healed = async {
            let _lock = self.journal.lock().await?;
            self.restore(id);
            if !self.journal.contains(id) {
                self.journal.terminal().warn(format!(
                    "the entry of {} is gone from {}: it is undone all the same",
                    entry.description,
                    self.journal.path().display()
                ));
            }
            heal(&self.journal, &entry, &Patience::Thorough).await
        }
        .await;
        self.held.retain(|held| held.entry.id != id);
        self.undone.extend(healed.is_ok().then_some(entry));
        healed
    }

    /// Waits until what was ready before the faults that were undone is so again.
    pub async fn settle(&mut self) -> Result<()> {
        for entry in std::mem::take(&mut self.undone) {
            for touched in &entry.touched {
                touched
                    .settle()
                    .await
                    .map_err(|error| error.within(format!("after {}", entry.description)))?;
            }
        }
        Ok(())
    }

    /// Undoes all of them, and tells of each what came of it.
    pub async fn heal_all(&mut self) -> Vec<(Entry, Result<()>)> {
        in_order(&mut self.held, |held| &held.entry);
        let entries: Vec<Entry> = self.held.iter().map(|held| held.entry.clone()).collect();
        let mut healed = Vec::new();
        for entry in entries {
            let result = self.heal(&entry.id).await;
            healed.push((entry, result));
        }
        healed
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        self.keepers.clear();
        let mut rest = Active::new(&self.journal);
        rest.held = std::mem::take(&mut self.held);
        let terminal = self.journal.terminal().clone();
        // A thread of its own: this one may be in the middle of a runtime, or of a panic.
        let healed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let healed = runtime.map(|runtime| runtime.block_on(rest.heal_all()));
            // Dropped with something left, it would only try the same again.
            rest.held.clear();
            healed
        });
        let failed = || Error::target("the faults could not be undone");
        let healed = match healed.join() {
            Ok(healed) => healed.map_err(|e| failed().because(e)),
            Err(_) => Err(failed().because_of("undoing them panicked")),
        };
        match healed {
            Ok(healed) => {
                for (entry, result) in healed {
                    match result {
                        Ok(()) => terminal.say(format!("healed {}", entry.description)),
                        Err(e) => terminal.warn(format!("{} could not be undone: {e}", entry.description)),
                    }
                }
            }
            Err(error) => terminal.warn(error.hint("sre heal").to_string()),
        }
    }
}
