//! `sre worker`.

use std::net::SocketAddr;

use clap::Args;
use tokio::io::BufReader;
use tokio::net::TcpListener;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::load;

/// Sends one part of a load: reads its orders from stdin, and tells on stdout what became of it.
#[derive(Debug, Args)]
pub struct Worker {
    /// Listens for its leader here instead; without one that was heard of for 10 s it ends.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Worker {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        match self.listen {
            Some(address) => {
                // A leader proves nothing: whoever reaches the port could have load sent to anybody.
                if !address.ip().is_loopback() {
                    return Err(Error::usage(format!("a worker does not listen on {address}"))
                        .because_of("whoever reaches it could have it send load")
                        .hint("it listens on this machine alone: --listen 127.0.0.1:7000"));
                }
                let listener = TcpListener::bind(address)
                    .await
                    .map_err(|e| Error::target(format!("{address} cannot be listened on")).because(e))?;
                load::listen_as_worker(listener, &context.interrupt).await?;
            }
            None => {
                let orders = BufReader::new(tokio::io::stdin());
                load::serve_as_worker(orders, tokio::io::stdout(), &context.interrupt).await?;
            }
        }
        Ok(Exit::Pass)
    }
}
