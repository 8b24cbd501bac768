//! `sre schema`.

use clap::{Args, ValueEnum};

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::scenario::Scenario;
use crate::stack::Stack;

/// Prints the JSON schema of scenario or stack files, for editors.
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
}

impl Schema {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let schema = match self.kind {
            Kind::Scenario => schemars::schema_for!(Scenario),
            Kind::Stack => schemars::schema_for!(Stack),
        };
        context.terminal.print(&schema, |schema| format!("{:#}", schema.as_value()))?;
        Ok(Exit::Pass)
    }
}
