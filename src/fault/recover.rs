//! Undoing what an `sre` that was killed left behind.

use serde::Serialize;

use super::heal::{Patience, heal as undo, in_order};
use super::journal::Read;
use super::{Entry, Held, Journal, State};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::target::Folder;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::reach;
use crate::target::kubernetes::record::ClusterLab;
use crate::terminal::Terminal;

/// A fault that was in the journal, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name in the journal.
    pub id: String,
    /// What it does, in words: `latency 2s on users-api-0`.
    pub fault: String,
    /// The process id of the `sre` that injected it; `None` where the entry cannot be read.
    pub owner: Option<u32>,
    /// The machine of that `sre`, where it is known from an annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What became of it.
    pub found: Found,
    /// Why it could not be undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a fault in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// It is undone.
    Healed,
    /// The `sre` that injected it still lives, and will undo it.
    Held,
    /// It could not be undone.
    Failed,
    /// It is undone, and what was ready before it is not so again.
    Unsettled,
    /// An annotation that no `sre` writes: nothing was done.
    Strange,
    /// This user has not written it here: nothing of it is run.
    Foreign,
}

/// Undoes every fault whose `sre` is gone; with `force`, those of a living one, too. Then waits until what was
/// ready before is so again, unless it is interrupted. Nothing to undo is no error. Errors: the journal cannot be
/// read or locked.
pub async fn heal(
    folder: &Folder,
    terminal: &Terminal,
    force: bool,
    interrupt: &Interrupt,
) -> Result<Vec<Finding>> {
    heal_within(folder, terminal, force, interrupt, &Patience::Asked(interrupt.clone())).await
}

/// As [`heal`], by a command that has something else to do: a cluster that does not answer is not waited for.
async fn heal_briefly(folder: &Folder, terminal: &Terminal, interrupt: &Interrupt) -> Result<Vec<Finding>> {
    heal_within(folder, terminal, false, interrupt, &Patience::Brief(interrupt.clone())).await
}

async fn heal_within(
    folder: &Folder,
    terminal: &Terminal,
    force: bool,
    interrupt: &Interrupt,
    patience: &Patience,
) -> Result<Vec<Finding>> {
    let journal = Journal::new(folder, terminal);
    if journal.is_untouched() {
        return Ok(Vec::new());
    }
    let lock = journal.lock().await?;
    journal.sweep()?;
    let mut findings = Vec::new();
    let mut faults: Vec<(Entry, Option<Held>)> = Vec::new();
    for read in journal.read()? {
        match read {
            Read::Orphan(held) => faults.push((held.entry.clone(), Some(held))),
            Read::Owned(entry) if force => faults.push((entry, None)),
            Read::Owned(entry) => findings.push(Finding::new(entry, Found::Held, None)),
            Read::Broken(path, error) if error.exit() == Exit::Prerequisite => findings.push(Finding {
                id: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                fault: "an entry that you have not written here".into(),
                owner: None,
                host: None,
                found: Found::Foreign,
                error: Some(error.to_string()),
            }),
            Read::Broken(path, error) => findings.push(Finding {
                id: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                fault: "an entry that cannot be read".into(),
                owner: None,
                host: None,
                found: Found::Failed,
                error: Some(
                    error.hint("look at what it touches, put that right, remove the file").to_string(),
                ),
            }),
        }
    }
    in_order(&mut faults, |(entry, _)| entry);
    let mut undone = Vec::new();
    for (entry, held) in faults {
        match undo(&journal, &entry, patience).await {
            Ok(()) => {
                // Its owner lives, and is to find out.
                if held.is_none()
                    && let Err(error) = journal.write(Entry { state: State::Undone, ..entry.clone() })
                {
                    terminal.warn(format!("the owner of {} is not told: {error}", entry.description));
                }
                undone.push(entry);
            }
            Err(error) => findings.push(Finding::new(entry, Found::Failed, Some(error.to_string()))),
        }
    }
    // Nothing is changed any more: another `sre` need not wait for what gets ready by itself.
    drop(lock);
    for entry in undone {
        findings.push(match interrupt.or(settle(&entry)).await {
            Ok(Ok(())) | Err(_) => Finding::new(entry, Found::Healed, None),
            Ok(Err(error)) => Finding::new(entry, Found::Failed, Some(error.to_string())),
        });
    }
    Ok(findings)
}

async fn settle(entry: &Entry) -> Result<()> {
    for touched in &entry.touched {
        touched.settle().await?;
    }
    Ok(())
}

/// Undoes what an `sre` that was killed left behind, and says so: every command that changes a lab or puts load on
/// it begins with it. Cheap where no fault is in the journal. What cannot be undone is a warning and ends
/// no command; one that must not go on then asks [`ensure_none`].
pub async fn recover(folder: &Folder, terminal: &Terminal, interrupt: &Interrupt) {
    match heal_briefly(folder, terminal, interrupt).await {
        Ok(findings) => tell(&findings, terminal),
        Err(error) => terminal.warn(error.to_string()),
    }
}

fn tell(findings: &[Finding], terminal: &Terminal) {
    for finding in findings {
        match finding.found {
            Found::Healed => terminal.say(format!("healed {}", finding.sentence())),
            Found::Unsettled => terminal.warn(format!("healed {}", finding.sentence())),
            Found::Strange => terminal.warn(format!("left alone {}", finding.sentence())),
            Found::Held => {}
            Found::Failed => terminal.warn(format!("could not heal {}", finding.sentence())),
            Found::Foreign => terminal.warn(format!("left alone {}", finding.sentence())),
        }
    }
}

/// An error (exit 6) if a fault is injected in this lab, or may be, by whomever: a run there would be
/// judged by what it did not do.
pub async fn ensure_none(folder: &Folder, terminal: &Terminal, interrupt: &Interrupt) -> Result<()> {
    let findings = heal_briefly(folder, terminal, interrupt).await?;
    tell(&findings, terminal);
    refuse(&findings)
}

fn refuse(findings: &[Finding]) -> Result<()> {
    // What is undone, or was never a fault, keeps nobody from a run.
    let is_on = |finding: &&Finding| matches!(finding.found, Found::Held | Found::Failed | Found::Foreign);
    let Some(finding) = findings.iter().find(is_on) else {
        return Ok(());
    };
    if finding.found == Found::Foreign {
        return Err(Error::prerequisite("the journal of faults here is not yours alone")
            .because_of(finding.sentence())
            .hint("sre trust shows what is in it and makes it yours; or delete the file"));
    }
    let hint = match finding.found {
        Found::Held => "let it come to its end, or undo it with `sre heal --force`",
        _ => "put right what the warning says, then `sre heal`",
    };
    Err(Error::target("a fault is injected in this lab already").because_of(finding.sentence()).hint(hint))
}

/// As [`ensure_none`], for a lab on a cluster: by the annotations of its objects, because another machine's fault
/// stands in no journal here.
///
/// # Errors
/// The target (exit 6) where a fault is on one of its objects; as for connecting to its cluster.
pub async fn ensure_none_on(lab: &ClusterLab, terminal: &Terminal, interrupt: &Interrupt) -> Result<()> {
    let cluster = interrupt.or(reach::connect(lab)).await??;
    none_on(&cluster, lab, terminal, interrupt).await
}

/// As [`ensure_none_on`], before an `up` that would mend what another machine's fault has done. A cluster that is not to be
/// reached is for `up` to start, or to tell of.
///
/// # Errors
/// As for [`ensure_none_on`], but for connecting.
pub async fn ensure_none_before_up(
    lab: &ClusterLab,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<()> {
    match interrupt.or(reach::connect(lab)).await? {
        Ok(cluster) => none_on(&cluster, lab, terminal, interrupt).await,
        Err(_) => Ok(()),
    }
}

async fn none_on(
    cluster: &Cluster,
    lab: &ClusterLab,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<()> {
    let namespace = Some(lab.namespace.as_str());
    let (findings, _) = super::kubernetes::recover(cluster, namespace, false, interrupt).await?;
    tell(&findings, terminal);
    refuse(&findings)
}

impl Finding {
    fn new(entry: Entry, found: Found, error: Option<String>) -> Finding {
        Finding { id: entry.id, fault: entry.description, owner: Some(entry.owner), host: None, found, error }
    }

    /// The fault, its owner and, where it could not be undone, why.
    pub fn sentence(&self) -> String {
        let host = self.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
        let owner = match (self.found, self.owner) {
            (Found::Held, Some(owner)) => format!(", held by the running sre {owner}{host}"),
            (_, Some(owner)) => format!(", left behind by sre {owner}{host}"),
            (_, None) => format!(": {}", self.id),
        };
        let why = self.error.as_ref().map(|why| format!("\n  because: {}", why.replace('\n', "\n  ")));
        format!("{}{owner}{}", self.fault, why.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::kubernetes::fake::Fake;

    #[tokio::test]
    async fn before_an_up_a_fault_is_refused_and_a_cluster_that_is_away_is_not() {
        let fake = Fake::disturbed().await;
        let mut place = fake.lab().cluster.expect("it is on a cluster");
        let (terminal, interrupt) = (Terminal::silent(true), Interrupt::default());
        let refused = ensure_none_before_up(&place, &terminal, &interrupt).await.expect_err("a fault is on");
        assert_eq!(refused.exit(), Exit::Target);
        assert!(refused.to_string().contains("a fault is injected in this lab already"), "{refused}");
        place.context = "gone".into();
        assert!(ensure_none_on(&place, &terminal, &interrupt).await.is_err());
        assert!(ensure_none_before_up(&place, &terminal, &interrupt).await.is_ok());
    }
}
