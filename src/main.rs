//! Parse, dispatch, exit code — nothing else.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    sre::cli::run(sre::cli::Cli::parse()).await.into()
}
