//! `sre app`.

use std::net::SocketAddr;

use clap::Args;

use super::Context;
use crate::app::{self, Level};
use crate::error::Result;
use crate::exit::Exit;
use crate::scenario::Duration;

/// The demo service: the API of the labs.
///
/// Serves until SIGTERM or Ctrl-C, then lets the requests that are under way end (10 s at the most) and
/// exits with 0: a service that was asked to stop has ended well. docs/app.md tells its routes, metrics
/// and faults.
#[derive(Debug, Args)]
pub struct App {
    /// Where it serves; port 0 takes any free one, which the first log line tells.
    #[arg(long, env = "SRE_APP_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where faults are switched on and off, on loopback; nowhere, if left out.
    #[arg(long, env = "SRE_APP_ADMIN", value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Every random decision follows from this number and the request's id.
    #[arg(long, env = "SRE_APP_SEED", value_name = "N", default_value_t = 42)]
    seed: u64,
    /// The median time of the simulated query of /api/users.
    #[arg(long, env = "SRE_APP_LATENCY", value_name = "TIME", default_value = "5ms")]
    latency: Duration,
    /// The replica's name in its logs; the host's name, if left out.
    #[arg(long, env = "SRE_APP_REPLICA", value_name = "NAME")]
    replica: Option<String>,
    /// Which requests are logged.
    #[arg(long, env = "SRE_APP_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: Level,
    /// How long it goes on serving, though no longer ready, after it was asked to stop.
    #[arg(long, env = "SRE_APP_DRAIN", value_name = "TIME", default_value = "0s")]
    drain: Duration,
}

impl App {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let config = app::Config {
            listen: self.listen,
            admin: self.admin,
            seed: self.seed,
            query: self.latency.get(),
            replica: self.replica.or_else(|| sysinfo::System::host_name().ok()).unwrap_or_default(),
            log_level: self.log_level,
            drain: self.drain.get(),
        };
        app::serve(config, &context.interrupt).await?;
        Ok(Exit::Pass)
    }
}
