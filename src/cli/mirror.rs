//! `sre mirror`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Context;
use super::columns::{WIDTH, columns};
use super::set::Set;
use crate::catalog;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::mirror::{self, Filled, Kind, Wanted};
use crate::target::kubernetes::chart;
use crate::target::kubernetes::helm::Helm;
use crate::tools::versions;

/// Fills a mirror with what a stack needs, for labs without internet.
#[derive(Debug, Args)]
pub struct Mirror {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Gets a stack's charts, the images of its pods and the programs that `sre` runs into a folder; what is there stays.
    ///
    /// Elsewhere, `export SRE_MIRROR=file:///DIR` (or the https:// address that serves it) lets `sre up` take all of
    /// that from there. Helm is needed, a cluster is not.
    Fill(Fill),
}

/// What is got, and where it goes.
#[derive(Debug, Args)]
struct Fill {
    /// The folder; made if it is not there.
    folder: PathBuf,
    /// The stack.
    #[arg(long, default_value = "users-api")]
    stack: String,
    #[command(flatten)]
    set: Set,
    /// The platform of the nodes and of the machine that `sre` runs on: linux-amd64, linux-arm64 [default: this one's].
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Gets these only; may be given several times.
    #[arg(long, value_name = "KIND", value_enum)]
    only: Vec<Kind>,
}

impl Mirror {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let Command::Fill(fill) = self.command;
        let filled = fill.run(context).await?;
        context.terminal.print(&filled, |filled| screen(filled))?;
        Ok(Exit::Pass)
    }
}

impl Fill {
    async fn run(self, context: &Context) -> Result<Vec<Filled>> {
        let platform = self.platform.unwrap_or_else(versions::platform);
        if !platform.starts_with("linux-") {
            return Err(Error::usage(format!("--platform {platform}: nodes run Linux"))
                .hint("name the nodes' platform: --platform linux-amd64"));
        }
        let asked = |kind: Kind| self.only.is_empty() || self.only.contains(&kind);
        let mut wanted = Wanted { platform, tools: asked(Kind::Tools), ..Wanted::default() };
        if asked(Kind::Charts) || asked(Kind::Images) {
            let loaded = catalog::stack(&self.stack, &self.set.set)?;
            let plan = loaded.plan()?.ok_or_else(|| {
                Error::usage(format!("the stack {} has neither charts nor images", self.stack))
                    .because_of("it has no `cluster`")
                    .hint("--only tools gets the programs that it runs on this machine")
            })?;
            let mut settled = plan.clone();
            let mut helm = None;
            if plan.has_charts() {
                let found = Helm::offline("helm", &context.interrupt).await?;
                chart::settle(&mut settled, &found, &|line| context.terminal.say(line)).await?;
                helm = Some(found);
            }
            if asked(Kind::Charts) {
                wanted.charts = mirror::wanted(&plan, &settled);
            }
            if asked(Kind::Images) {
                wanted.images = mirror::of_plan(&settled, helm.as_ref()).await?;
            }
        }
        mirror::fill(&self.folder, &wanted, &context.terminal, &context.interrupt).await
    }
}

/// The files, and how to use them.
fn screen(filled: &[Filled]) -> String {
    let rows = filled.iter().map(|one| {
        let size = format!("{:.1} MB", one.bytes as f64 / 1e6);
        [one.file.clone(), size, if one.kept { "was there".into() } else { "new".into() }]
    });
    let total: u64 = filled.iter().map(|one| one.bytes).sum();
    format!(
        "{}\n\n{} files, {:.1} MB",
        columns(WIDTH, ["FILE", "SIZE", ""], rows),
        filled.len(),
        total as f64 / 1e6
    )
}
