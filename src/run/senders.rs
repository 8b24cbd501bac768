//! Who sends a load: this process, others of this machine, or pods.

use std::time::Duration;

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::load::{self, Link};
use crate::scenario::Scenario;
use crate::target::kubernetes::load_job::{Crew, PodWorkers};

/// Who sends a load.
#[derive(Clone)]
pub enum Senders {
    /// This process.
    Here,
    /// So many processes of this program on this machine.
    Processes(u64),
    /// Pods on the lab's cluster.
    Pods(Box<PodWorkers>),
}

/// Workers that came when they were called; none where this process sends the load itself.
pub(super) struct Called {
    links: Option<Vec<Link>>,
    crew: Option<Crew>,
}

/// Beside the load itself: preparing, and telling of the end.
const AROUND: Duration = Duration::from_secs(60);

impl Senders {
    /// How a plan tells of them: ` from 3 pods`.
    pub(super) fn in_words(&self) -> String {
        match self {
            Senders::Here => String::new(),
            Senders::Processes(workers) => format!(" from {workers} workers"),
            Senders::Pods(pods) if pods.workers == 1 => " from a pod".into(),
            Senders::Pods(pods) => format!(" from {} pods", pods.workers),
        }
    }

    /// Calls the workers of a load. Whoever called them dismisses them, whatever happens in between.
    ///
    /// # Errors
    /// More workers than users or connections (2), or workers that do not come (5, 6); interrupted (130, 143).
    pub(super) async fn call(&self, scenario: &Scenario, run: &str, interrupt: &Interrupt) -> Result<Called> {
        match self {
            Senders::Here => Ok(Called { links: None, crew: None }),
            Senders::Processes(workers) => {
                let program = crate::own_program::running()?;
                load::refuse_idlers(scenario, *workers)?;
                let links = load::processes(program.as_os_str(), *workers)?;
                Ok(Called { links: Some(links), crew: None })
            }
            Senders::Pods(pods) => {
                load::refuse_idlers(scenario, pods.workers)?;
                let mut crew = pods.start(run, load::longest(scenario) + AROUND, interrupt).await?;
                Ok(Called { links: Some(std::mem::take(&mut crew.links)), crew: Some(crew) })
            }
        }
    }
}

impl Called {
    /// What they are spoken to by; `None` where there are none.
    pub(super) fn links(&mut self) -> Option<Vec<Link>> {
        self.links.take()
    }

    /// Where they run, where that is not here: `pods on node-1, node-2`.
    pub(super) fn place(&self) -> Option<String> {
        let nodes = &self.crew.as_ref()?.nodes;
        Some(format!("pods on {}", nodes.join(", ")))
    }

    /// Lets them go, and removes what was made for them.
    pub(super) async fn dismiss(self) {
        drop(self.links);
        if let Some(crew) = self.crew {
            crew.dismiss().await;
        }
    }
}
