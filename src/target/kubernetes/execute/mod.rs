//! Does one step of a plan, and writes down what it will do before it does it: a file for each kind of step.

mod apply;
mod chart;
mod image;
mod zones;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::apply::{Change, Mode, ensure_namespace};
use super::client::Cluster;
use super::failure::call_opt;
use super::gone::{gone, is_going};
use super::helm::Helm;
use super::image::Loader;
use super::object::ObjectRef;
use super::patch::{Undo, patch};
use super::plan::{Action, Step};
use super::progress::Progress;
use super::record::{Book, Done};
use super::wait;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::stack::ClusterEndpoint;

pub(super) use apply::{OPERATOR, WORKLOADS};
pub use apply::{known, locate};

/// What steps are done with.
pub struct Execution<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Helm, where the plan has charts.
    pub helm: Option<Helm>,
    /// The namespace of what names none.
    pub namespace: &'a str,
    /// The service, whose pods are the replicas.
    pub service: Option<&'a ClusterEndpoint>,
    /// Where it is written down.
    pub book: &'a Book<'a>,
    /// How images come onto the nodes.
    pub loader: Option<Loader>,
    /// The program that an image of `sre` holds.
    pub program: Option<PathBuf>,
    /// Where progress goes.
    pub progress: &'a Progress,
    /// Ends every wait.
    pub interrupt: &'a Interrupt,
    /// When what Prometheus and Alertmanager are configured by was last changed.
    pub configured: Mutex<Option<Instant>>,
    /// How many charts are still to be installed.
    pub charts: watch::Sender<usize>,
}

impl Execution<'_> {
    /// Does a step, and waits until what it brought is ready.
    ///
    /// # Errors
    /// What failed, on which object (exit 6), or what is missing (exit 5).
    pub async fn step(&self, step: &Step) -> Result<()> {
        let started = Instant::now();
        let what = self.interrupt.or(self.act(step)).await??;
        if matches!(step.action, Action::Chart(_)) {
            self.charts.send_modify(|left| *left -= 1);
        }
        self.progress.done(&step.name, &format!("{what} · {:.1} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    async fn act(&self, step: &Step) -> Result<String> {
        match &step.action {
            Action::Zones(zones) => self.zones(zones).await,
            Action::Image(image) => self.image(&step.name, image).await,
            Action::Chart(release) => self.chart(step, release).await,
            Action::Apply(objects) => self.apply(step, objects).await,
            Action::Patch { target, body } => {
                // Known before it is written, so that it can be undone whatever happens then.
                for planned in patch(self.cluster, target, body, Mode::DryRun).await? {
                    if let Some(undo) = Undo::of(&planned) {
                        self.book.note(Done::Patch(undo))?;
                    }
                }
                let patched = patch(self.cluster, target, body, Mode::Write).await?;
                let objects: Vec<ObjectRef> = patched.iter().map(|applied| applied.object.clone()).collect();
                self.ready(step, &objects).await?;
                Ok(changes(patched.iter().map(|applied| &applied.change)))
            }
        }
    }

    /// Notes that what Prometheus and Alertmanager are configured by has just been changed.
    pub fn note_configured(&self) {
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Makes a namespace that is not there; one that still ends is waited for.
    async fn namespace(&self, name: &str) -> Result<()> {
        let reference = ObjectRef::of_namespace(name);
        let Some((api, _)) = self.cluster.api(&reference, name).await? else { return Ok(()) };
        let what = || format!("{reference} could not be read");
        match call_opt(what, || api.get(name)).await? {
            Some(found) if is_going(&found) => {
                self.progress.tell(&reference.to_string(), "it is being deleted still");
                gone(self.cluster, &reference).await?;
            }
            // Whoever made it may have labelled it, too.
            Some(_) => return Ok(()),
            None => {}
        }
        self.book.note(Done::Namespace(name.into()))?;
        ensure_namespace(self.cluster, name, Mode::Write).await.map(|_| ())
    }

    async fn ready(&self, step: &Step, objects: &[ObjectRef]) -> Result<()> {
        let progress = |line: &str| self.progress.tell(&step.name, line);
        wait::ready(self.cluster, objects, step.wait.get(), &progress).await
    }
}

/// `2 created, 1 changed` or `unchanged`.
fn changes<'a>(all: impl Iterator<Item = &'a Change>) -> String {
    let (mut created, mut changed) = (0, 0);
    for change in all {
        match change {
            Change::Created => created += 1,
            Change::Changed { .. } => changed += 1,
            Change::Unchanged | Change::Foreign => {}
        }
    }
    let words: Vec<String> = [(created, "created"), (changed, "changed")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if words.is_empty() { "unchanged".into() } else { words.join(", ") }
}
