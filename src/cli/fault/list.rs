//! `sre fault list` and `sre fault describe`.

use clap::Args;

use crate::cli::Context;
use crate::cli::columns::{WIDTH, columns};
use crate::config::unknown;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::fault::{Description, Place, describe};
use crate::report::paragraph;

/// Lists the faults: what each does, and where it can be injected.
#[derive(Debug, Args)]
pub struct List {}

impl List {
    /// Runs the command.
    pub fn run(self, context: &Context) -> Result<Exit> {
        context.terminal.print(&describe(), |faults| table(faults))?;
        Ok(Exit::Pass)
    }
}

/// Tells what a fault does, what it touches, and what monitoring must show of it.
#[derive(Debug, Args)]
pub struct Describe {
    /// The fault: a name that `sre fault list` shows.
    name: String,
}

impl Describe {
    /// Runs the command.
    pub fn run(self, context: &Context) -> Result<Exit> {
        let fault = named(&self.name)?;
        context.terminal.print(fault, screen)?;
        Ok(Exit::Pass)
    }
}

/// A fault of the catalogue.
///
/// # Errors
/// Usage (exit 2) where there is none of this name.
pub fn named(name: &str) -> Result<&'static Description> {
    let names = describe().iter().map(|fault| fault.name);
    describe().iter().find(|fault| fault.name == name).ok_or_else(|| {
        Error::usage(format!("there is no fault `{name}`"))
            .because_of(unknown(name, names))
            .hint("sre fault list")
    })
}

fn table(faults: &[Description]) -> String {
    let rows = faults.iter().map(|fault| [written(fault), places(fault), fault.does.to_owned()]);
    columns(WIDTH, ["FAULT", "ON", "WHAT IT DOES"], rows)
}

fn written(fault: &Description) -> String {
    fault.example.map_or(fault.name.into(), |example| format!("{}={example}", fault.name))
}

fn places(fault: &Description) -> String {
    let name = |place: &Place| match place {
        Place::Local => "local",
        Place::Cluster => "cluster",
    };
    fault.on.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn screen(fault: &Description) -> String {
    let section = |title: &str, text: &str| format!("\n{title}\n{}", paragraph(2, text).join("\n"));
    let mut parts = vec![
        format!("{} · on: {}", written(fault), places(fault)),
        section("What it does", fault.does),
        section("What it touches, and how that is undone", fault.touches),
        section("What monitoring must show", fault.shows),
    ];
    // An expression is copied, not read: it stays in one line.
    parts.push(format!(
        "\nThe same in PromQL: 1 while it is shown, else 0 ($names: docs/faults.md)\n  {}",
        fault.sign.shown
    ));
    parts.extend(fault.sign.over.map(|over| format!("\nOver, once this is 1\n  {over}")));
    parts.join("\n")
}
