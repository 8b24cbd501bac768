//! `sre worker`.

use clap::Args;
use tokio::io::BufReader;

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::load;

/// Sends one part of a load: reads its orders from stdin, and tells on stdout what became of it.
#[derive(Debug, Args)]
pub struct Worker {}

impl Worker {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let orders = BufReader::new(tokio::io::stdin());
        load::serve_as_worker(orders, tokio::io::stdout(), &context.interrupt).await?;
        Ok(Exit::Pass)
    }
}
