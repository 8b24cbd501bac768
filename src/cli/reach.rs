//! Opens what a command needs of the lab that is up, where that is not on this machine.

use super::Context;
use crate::error::{Error, Result};
use crate::target::Lab;
use crate::target::kubernetes::reach::{self, Reached, Way};

/// The lab with its endpoints as they are now; they answer as long as the result lives.
///
/// # Errors
/// Where its cluster, or the service that load goes to, cannot be reached (6).
pub async fn reach(lab: &Lab, way: &Way, context: &Context) -> Result<Reached> {
    context.interrupt.or(reach::reach(lab, way, &|line| context.terminal.warn(line))).await?
}

/// Refuses a command that does not reach into clusters.
///
/// # Errors
/// Usage (exit 2) where the lab runs on a cluster.
pub fn only_here(lab: &Lab, command: &str) -> Result<()> {
    let Some(place) = &lab.cluster else { return Ok(()) };
    Err(Error::usage(format!("`sre {command}` is not supported yet on the target {}", lab.target)).hint(
        format!("kubectl --context {} --namespace {} shows what runs there", place.context, place.namespace),
    ))
}
