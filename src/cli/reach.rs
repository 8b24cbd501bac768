//! Opens what a command needs of the lab that is up, where that is not on this machine.

use super::Context;
use crate::error::Result;
use crate::target::Lab;
use crate::target::kubernetes::reach::{self, Reached, Way};

/// The lab with its endpoints as they are now; they answer as long as the result lives.
///
/// # Errors
/// Where its cluster, or the service that load goes to, cannot be reached (6).
pub async fn reach(lab: &Lab, way: &Way, context: &Context) -> Result<Reached> {
    context.interrupt.or(reach::reach(lab, way, &|line| context.terminal.warn(line))).await?
}
