//! Whose turn it is on a lab, where others may be at work on it.

use clap::Args;

use super::Context;
use crate::error::Result;
use crate::target::busy::{self, Busy, Work};
use crate::target::kubernetes::lease::{self, Lease};
use crate::target::kubernetes::reach;
use crate::target::{Folder, Lab};

/// What is done where somebody else is at work on the lab.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Turn {
    /// Waits until whoever is at work on this lab is done, rather than end with 6.
    #[arg(long)]
    queue: bool,
}

impl Turn {
    /// Begins some work on the lab here, and keeps others away until what comes back is dropped.
    ///
    /// # Errors
    /// As for [`busy::begin`].
    pub async fn begin(self, folder: &Folder, work: Work, command: &str, context: &Context) -> Result<Busy> {
        busy::begin(folder, work, command, self.queue, &context.terminal, &context.interrupt).await
    }

    /// Keeps others away from a lab on a cluster, from whatever machine, until it is released; `None` for a lab that is
    /// on none, on one that does not answer (which is for the command itself to tell, or to start), or where this user
    /// may not make a Lease.
    ///
    /// # Errors
    /// As for [`lease::take`].
    pub async fn on_cluster(self, lab: &Lab, work: (Work, &str), context: &Context) -> Result<Option<Lease>> {
        let Some(place) = &lab.cluster else { return Ok(None) };
        let Ok(cluster) = context.interrupt.or(reach::connect(place)).await? else { return Ok(None) };
        let (terminal, interrupt) = (&context.terminal, &context.interrupt);
        lease::take(&cluster, &place.namespace, work, self.queue, terminal, interrupt).await
    }
}

/// Gives a Lease back, where there is one.
pub async fn release(lease: Option<Lease>) {
    if let Some(lease) = lease {
        lease.release().await;
    }
}
