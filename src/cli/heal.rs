//! `sre heal`.

use clap::Args;

use super::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::fault::{self, Finding, Found};
use crate::target::Folder;

/// Undoes every fault that an `sre` left behind.
///
/// Every command begins with this by itself. By hand it tells what was undone, what could not be, and
/// why; then it ends with exit code 6.
#[derive(Debug, Args)]
pub struct Heal {
    /// Also undoes the faults of an `sre` that still runs.
    #[arg(long)]
    force: bool,
}

impl Heal {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let findings = fault::heal(&Folder::here()?, &context.terminal, self.force).await?;
        context.terminal.print(&findings, |findings| screen(findings))?;
        match findings.iter().any(|finding| finding.found == Found::Failed) {
            true => Ok(Exit::Target),
            false => Ok(Exit::Pass),
        }
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
