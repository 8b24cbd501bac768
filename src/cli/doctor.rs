//! `sre doctor`.

use clap::Args;
use serde::Serialize;

use super::Context;
use super::up::Wanted;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inspect::{self, Finding, Level};
use crate::target::{Folder, Lab, TargetKind, choose};

/// Tells whether `sre up` can work here, and what mends it where it can't.
///
/// Takes the options that `sre up` would be given. Ends with 0 if it can, 5 if it can't.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The stack; without it, the one that is up here, else users-api.
    stack: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Serialize)]
struct Report {
    target: TargetKind,
    level: Level,
    findings: Vec<Finding>,
}

impl Doctor {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        // A lab that cannot be read is no reason not to look.
        let here = Lab::load(folder.root()).ok().flatten();
        let target = choose(context.global.target, here.as_ref().map(|lab| lab.target), false)?.target;
        let findings = match target {
            TargetKind::Local => {
                // One that is not there, or wrong, cannot be brought up.
                self.wanted.load(self.stack.as_deref(), target, here.as_ref())?;
                inspect::local(&folder).await?
            }
            TargetKind::External => {
                return Err(Error::usage("on the target external nothing is brought up")
                    .hint("sre verify tells what your Prometheus sees"));
            }
            TargetKind::Cluster | TargetKind::Minikube => {
                let stack = self.wanted.load(self.stack.as_deref(), target, here.as_ref())?;
                let (file, rules) = (|name: &str| stack.file(name), stack.rule_names());
                let request = self.wanted.on_cluster(&stack, &file, &rules, &folder, target, here.as_ref());
                match target {
                    TargetKind::Minikube => inspect::minikube(&request, &context.interrupt).await?,
                    _ => inspect::cluster(&request, &context.interrupt).await?,
                }
            }
        };
        let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        context.terminal.print(&Report { target, level, findings }, screen)?;
        Ok(if level == Level::Error { Exit::Prerequisite } else { Exit::Pass })
    }
}

fn screen(report: &Report) -> String {
    let mut lines = vec![report.target.to_string()];
    for finding in &report.findings {
        let sign = match finding.level {
            Level::Ok => '✔',
            Level::Warning => '!',
            Level::Error => '✘',
        };
        let message = finding.message.replace('\n', &format!("\n{:21}", ""));
        lines.push(format!("{sign} {:<18} {message}", finding.name));
        if let Some(hint) = &finding.hint {
            lines.push(format!("    → {}", hint.replace('\n', "\n      ")));
        }
    }
    lines.push(match report.level {
        Level::Ok => "\nsre up can work here.".into(),
        Level::Warning => "\nsre up can work here; see what is marked by !.".into(),
        Level::Error => "\nsre up cannot work here: see what is marked by ✘.".to_owned(),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_what_mends_it() {
        let findings = vec![
            Finding::ok("prometheus", "3.15.0, /usr/bin/prometheus (on PATH)"),
            Finding::warning("memory", "100 MB available", "sre up --replicas 1"),
            Finding::error("alertmanager", "missing, and sre cannot get it", "sudo apt-get update"),
        ];
        let report = Report { target: TargetKind::Local, level: Level::Error, findings };
        insta::assert_snapshot!(screen(&report), @r"
        local
        ✔ prometheus         3.15.0, /usr/bin/prometheus (on PATH)
        ! memory             100 MB available
            → sre up --replicas 1
        ✘ alertmanager       missing, and sre cannot get it
            → sudo apt-get update

        sre up cannot work here: see what is marked by ✘.
        ");
    }
}
