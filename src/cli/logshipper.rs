//! `sre logshipper`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::logstore::ship::{Options, ship};

/// Follows the logs of a service's replicas, and sends their lines by OTLP, each once.
#[derive(Debug, Args)]
pub struct Logshipper {
    /// Where it tells that it runs.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where lines are taken by OTLP over HTTP, without /v1/logs.
    #[arg(long, value_name = "URL")]
    to: Url,
    /// Where it keeps how far each log was sent.
    #[arg(long, value_name = "FILE")]
    positions: PathBuf,
    /// The name of the service.
    #[arg(long, value_name = "NAME")]
    service: String,
    /// A replica's name and its log; may be given more than once.
    #[arg(long, value_name = "NAME=FILE", value_parser = log)]
    log: Vec<(String, PathBuf)>,
}

fn log(text: &str) -> std::result::Result<(String, PathBuf), String> {
    let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    parts.map(|(name, path)| (name.to_owned(), path.into())).ok_or_else(|| "NAME=FILE is wanted".into())
}

impl Logshipper {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let Logshipper { listen, to, positions, service, log } = self;
        let options = Options { service, logs: log, to, positions };
        let warn = |what: String| context.terminal.warn(what);
        ship(listen, &options, &context.interrupt, &warn).await?;
        Ok(Exit::Pass)
    }
}
