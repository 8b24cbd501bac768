//! `sre why`.

use clap::{Args, Subcommand};

use super::Context;
use super::reach::reach;
use super::up::{as_it_is_up, what_is_up};
use crate::check::Subject;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::report;
use crate::target::Folder;
use crate::target::kubernetes::reach::Way;
use crate::why::{self, Place};

/// Walks the chain to something that is not seen, and names the first broken link with what mends it.
///
/// It only looks. Ends with 0 if every link is as it must be, 1 if one is broken, 3 if one could not be looked at and
/// none is seen to be broken.
#[derive(Debug, Args)]
pub struct Why {
    #[command(subcommand)]
    subject: About,
}

#[derive(Debug, Subcommand)]
enum About {
    /// Is it scraped? From the Service or the job to its last scrape.
    Target {
        /// A job, an instance, a replica; on a cluster a Service too, `NAMESPACE/NAME` if not in the lab's own.
        name: String,
    },
    /// Is it stored? From the target's page to the series.
    Metric {
        /// The metric, or a selector: `requests_total{code="500"}`.
        name: String,
    },
    /// Does it fire? From the rule to Alertmanager.
    Alert {
        /// The alert, or one with some labels: `Down{severity="page"}`.
        name: String,
    },
    /// Does it arrive? From the rule to the receiver.
    Notification {
        /// The alert, or one with some labels.
        name: String,
    },
    /// Is it kept? From the file to the log store.
    Line {
        /// A text that the line holds, such as a request's id; or a replica, for its newest line.
        text: String,
    },
}

impl Why {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        let lab = what_is_up(&folder, context)?
            .ok_or_else(|| Error::no_data("nothing is up here").hint("sre up"))?;
        // Without its file the lab can be asked all the same.
        let stack = as_it_is_up(&lab, &[]).ok();
        let reached = reach(&lab, &Way::Unneeded, context).await?;
        let rules = stack.as_ref().map(|loaded| loaded.rule_names()).unwrap_or_default();
        let place = Place {
            lab: &reached.lab,
            stack: stack.as_ref().map(|loaded| &loaded.stack),
            rules: &rules,
            cluster: reached.cluster.as_ref(),
            state: &folder,
        };
        let subject = match self.subject {
            About::Target { name } => Subject::Target(name),
            About::Metric { name } => Subject::Metric(name),
            About::Alert { name } => Subject::Alert(name),
            About::Notification { name } => Subject::Notification(name),
            About::Line { text } => Subject::Line(text),
        };
        let chain = context.interrupt.or(why::walk(&place, &subject)).await??;
        context.terminal.print(&chain, report::why::text)?;
        Ok(chain.exit())
    }
}
