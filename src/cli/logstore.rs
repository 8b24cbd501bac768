//! `sre logstore`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::logstore::{Limits, Options, serve};

/// Keeps log lines that are sent by OTLP, and answers what `sre` asks Loki.
#[derive(Debug, Args)]
pub struct Logstore {
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where it keeps them.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// How many bytes it keeps at the most; the oldest lines go first.
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20, value_parser = clap::value_parser!(u64).range(256 << 10..))]
    max_bytes: u64,
    /// How long it keeps them at the most.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = humantime::parse_duration)]
    max_age: std::time::Duration,
    /// How many lines one answer has at the most.
    #[arg(long, value_name = "LINES", default_value_t = 5000, value_parser = most_lines)]
    max_lines: usize,
}

fn most_lines(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|lines| *lines > 0).ok_or_else(|| "a positive number is wanted".into())
}

impl Logstore {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let limits = Limits { bytes: self.max_bytes, age: self.max_age };
        let options = Options { limits, most_lines: self.max_lines };
        let warn = |what: String| context.terminal.warn(what);
        serve(self.listen, &self.data, options, &context.interrupt, &warn).await?;
        Ok(Exit::Pass)
    }
}
