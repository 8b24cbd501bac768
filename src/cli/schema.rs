//! `sre schema`.

use clap::{Args, ValueEnum};

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::scenario::Scenario;
use crate::stack::Stack;
use crate::why::Chain;

/// Prints the JSON schema of scenario or stack files, for editors; or of what `sre why -o json` prints.
#[derive(Debug, Args)]
pub struct Schema {
    /// Which kind of file.
    kind: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// `scenarios/*.yaml`
    Scenario,
    /// `stacks/*/stack.yaml`
    Stack,
    /// `sre why -o json`
    Why,
}

impl Schema {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let schema = match self.kind {
            Kind::Scenario => schemars::schema_for!(Scenario),
            Kind::Stack => schemars::schema_for!(Stack),
            Kind::Why => schemars::schema_for!(Chain),
        };
        context.terminal.print(&schema, |schema| format!("{:#}", schema.as_value()))?;
        Ok(Exit::Pass)
    }
}
