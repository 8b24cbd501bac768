//! `sre heal`.

use std::path::PathBuf;

use clap::Args;

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::fault::{self, Finding, Found};
use crate::interrupt::Interrupt;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::reach;
use crate::target::{Folder, Lab};

/// Undoes every fault that an `sre` left behind.
///
/// A command that changes a lab or puts load on it begins with this by itself. By hand it tells what was undone,
/// what could not be, and why; then it ends with exit code 6; with 5 where an entry is not yours. On a cluster faults are found by what they left on the objects, so that
/// any machine can undo them.
#[derive(Debug, Args)]
pub struct Heal {
    /// Also undoes the faults of an `sre` that still runs.
    #[arg(long)]
    force: bool,
    /// Also looks for faults on the cluster of this kubeconfig context [default: that of the lab here].
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE", requires = "context")]
    kubeconfig: Option<PathBuf>,
    /// Only in this namespace, and on nodes [default: that of the lab here, else all].
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

impl Heal {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        let mut findings = fault::heal(&folder, &context.terminal, self.force, &context.interrupt).await?;
        if let Some((cluster, namespace)) = self.cluster(&folder, &context.interrupt).await? {
            let namespace = self.namespace.as_deref().or(namespace.as_deref());
            let (found, unseen) =
                fault::kubernetes::recover(&cluster, namespace, self.force, &context.interrupt).await?;
            for why in unseen {
                context.terminal.warn(format!("not all objects could be looked at: {why}"));
            }
            // What the journal here told of already is told once.
            let new =
                |one: &Finding| !findings.iter().any(|known| known.id == one.id && known.found == one.found);
            let found: Vec<Finding> = found.into_iter().filter(new).collect();
            findings.extend(found);
        }
        context.terminal.print(&findings, |findings| screen(findings))?;
        let is_left = |found| matches!(found, Found::Failed | Found::Unsettled | Found::Strange);
        Ok(match () {
            () if findings.iter().any(|finding| finding.found == Found::Foreign) => Exit::Prerequisite,
            () if findings.iter().any(|finding| is_left(finding.found)) => Exit::Target,
            () => Exit::Pass,
        })
    }

    /// The cluster to look at, and the namespace of the lab there.
    async fn cluster(
        &self,
        folder: &Folder,
        interrupt: &Interrupt,
    ) -> Result<Option<(Cluster, Option<String>)>> {
        if let Some(context) = &self.context {
            let cluster = interrupt.or(Cluster::connect(self.kubeconfig.as_deref(), Some(context))).await??;
            return Ok(Some((cluster, None)));
        }
        let Some(place) = Lab::load(folder.root())?.and_then(|lab| lab.cluster) else { return Ok(None) };
        let cluster = interrupt.or(reach::connect(&place)).await??;
        Ok(Some((cluster, Some(place.namespace))))
    }
}

fn screen(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing to heal: no fault is in the journal".into();
    }
    let line = |finding: &Finding| {
        let sentence = finding.sentence();
        match finding.found {
            Found::Healed => format!("✔ healed {sentence}"),
            Found::Held => format!("· left alone {sentence}\n  → sre heal --force undoes it all the same"),
            Found::Failed => format!("✘ could not heal {sentence}"),
            Found::Unsettled => format!("✘ healed {sentence}"),
            Found::Strange => format!("✘ left alone {sentence}"),
            Found::Foreign => format!("✘ left alone {sentence}"),
        }
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_heal_is_said() {
        insta::assert_snapshot!(screen(&[]), @"nothing to heal: no fault is in the journal");
    }

    #[test]
    fn each_fault_is_told_with_what_became_of_it() {
        let finding = |fault: &str, found, error: Option<&str>| Finding {
            id: "20261121-064012-4711-1".into(),
            fault: fault.into(),
            owner: Some(4711),
            host: None,
            found,
            error: error.map(Into::into),
        };
        let findings = [
            finding("kill on users-api-1", Found::Healed, None),
            finding("pause on users-api-2", Found::Held, None),
            finding(
                "latency 2s on users-api-0",
                Found::Failed,
                Some(
                    "the fault switches at http://127.0.0.1:41006/ cannot be set\n  because: operation timed out",
                ),
            ),
        ];
        insta::assert_snapshot!(screen(&findings), @"
        ✔ healed kill on users-api-1, left behind by sre 4711
        · left alone pause on users-api-2, held by the running sre 4711
          → sre heal --force undoes it all the same
        ✘ could not heal latency 2s on users-api-0, left behind by sre 4711
          because: the fault switches at http://127.0.0.1:41006/ cannot be set
            because: operation timed out
        ");
    }
}
