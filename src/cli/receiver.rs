//! `sre receiver`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use crate::error::Result;
use crate::exit::Exit;

/// Receives Alertmanager's notifications, and keeps them.
#[derive(Debug, Args)]
pub struct Receiver {
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where it keeps them, one JSON document a line.
    #[arg(long, value_name = "FILE")]
    store: PathBuf,
}

impl Receiver {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let terminal = context.terminal.clone();
        let tell = std::sync::Arc::new(move |what: String| terminal.say(what));
        crate::receiver::serve(self.listen, &self.store, &context.interrupt, tell).await?;
        Ok(Exit::Pass)
    }
}
