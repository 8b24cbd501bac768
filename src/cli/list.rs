//! `sre list`.

use clap::Args;

use super::Context;
use super::columns::{WIDTH, columns};
use crate::catalog::{self, Entries, Origin};
use crate::error::Result;
use crate::exit::Exit;

/// Lists stacks and scenarios: those of this folder, and those that come with sre.
#[derive(Debug, Args)]
pub struct List {}

impl List {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        context.terminal.print(&catalog::list(), table)?;
        Ok(Exit::Pass)
    }
}

fn table(entries: &Entries) -> String {
    let origin = |origin: &Option<Origin>| {
        String::from(match origin {
            Some(Origin::Shipped) => "shipped",
            Some(Origin::Path(_)) => "here",
            None => "-",
        })
    };
    // What cannot be loaded has its reason where others have their description.
    let told = |description: &str, problem: &Option<String>| {
        problem.clone().unwrap_or_else(|| description.to_owned())
    };
    let stacks = entries.stacks.iter().map(|stack| {
        [
            stack.name.clone(),
            stack.targets.join(", "),
            origin(&stack.origin),
            told(&stack.description, &stack.problem),
        ]
    });
    let scenarios = entries.scenarios.iter().map(|scenario| {
        [
            scenario.name.clone(),
            scenario.stack.clone(),
            origin(&scenario.origin),
            told(&scenario.description, &scenario.problem),
        ]
    });
    format!(
        "{}\n\n{}",
        columns(WIDTH, ["STACK", "TARGETS", "FROM", "DESCRIPTION"], stacks),
        columns(WIDTH, ["SCENARIO", "STACK", "FROM", "DESCRIPTION"], scenarios)
    )
}
