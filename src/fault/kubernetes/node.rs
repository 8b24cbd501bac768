//! Stopping and starting a node by commands that the user names.

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::target::kubernetes::program::Program;

/// Runs a shell line to its end. An interruption does not end it: half a stop is no state to leave a node in.
///
/// # Errors
/// The target (exit 6) where it fails, with what it wrote.
pub async fn run(line: &str) -> Result<()> {
    let finished = Program::new("sh", ["-c", line]).run(&Interrupt::default(), |_| ()).await?;
    if finished.success() {
        return Ok(());
    }
    Err(Error::target(format!("`{line}` failed")).because_of(finished.stderr.trim()))
}
