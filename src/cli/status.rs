//! `sre status`.

use clap::Args;
use jiff::Timestamp;

use super::Context;
use super::columns::{WIDTH, columns};
use super::up::{as_it_is_up, with_written_addresses};
use crate::error::Result;
use crate::exit::Exit;
use crate::figures::count;
use crate::observe::Target;
use crate::report::dotted;
use crate::target::kubernetes::record::ClusterLab;
use crate::target::kubernetes::{profile, status as cluster_status};
use crate::target::local::process::State;
use crate::target::local::{self, ProcessStatus, Status as LabStatus, TargetsStatus};
use crate::target::{Folder, Lab, TargetKind};

/// Shows how the lab is that is up here.
///
/// Ends with 0 if all is well, 6 if something is dead or not healthy, 3 if nothing is up.
#[derive(Debug, Args)]
pub struct Status {}

impl Status {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        let lab = Lab::up_in(folder.root())?;
        if let Some(place) = &lab.cluster {
            return on_cluster(&lab, place, context).await;
        }
        let lab = with_written_addresses(lab);
        let meant = meant(&lab);
        let status = context.interrupt.or(local::status(&lab, &folder, meant)).await??;
        context.terminal.print(&status, screen)?;
        Ok(if status.healthy { Exit::Pass } else { Exit::Target })
    }
}

/// Which of Prometheus' targets are the lab's: of somebody else's Prometheus, those of the service.
fn meant(lab: &Lab) -> impl Fn(&Target) -> bool + use<> {
    let job = match lab.target {
        TargetKind::External => as_it_is_up(lab, &[]).ok().and_then(|stack| stack.stack.counter.job),
        _ => None,
    };
    let all = lab.target != TargetKind::External;
    let instances: Vec<String> = lab.endpoints.scraped().into_iter().map(|(_, instance)| instance).collect();
    move |target| {
        let of_service = || job.is_some() || instances.iter().any(|instance| instance == target.instance());
        all || (job.as_deref().is_none_or(|job| job == target.job())
            && (instances.is_empty() || of_service()))
    }
}

async fn on_cluster(lab: &Lab, place: &ClusterLab, context: &Context) -> Result<Exit> {
    let cluster = profile::connect(place, &context.interrupt).await?;
    let status = context.interrupt.or(cluster_status::status(&cluster, lab, place)).await??;
    context.terminal.print(&status, |status| super::cluster_status::screen(status, Timestamp::now()))?;
    Ok(if status.healthy { Exit::Pass } else { Exit::Target })
}

fn screen(status: &LabStatus) -> String {
    let versions = status.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let place = format!("{} on {}", status.stack, status.target);
    let mut lines = dotted(std::iter::once(place).chain(versions));
    let rows = status.processes.iter().map(|process| {
        [
            process.name.clone(),
            process.state.to_string(),
            process.pid.to_string(),
            process.address.clone().unwrap_or_default(),
            process.since.map(|since| age(since, Timestamp::now())).unwrap_or_default(),
            process.memory_bytes.map(|bytes| format!("{} MiB", bytes >> 20)).unwrap_or_default(),
        ]
    });
    if !status.processes.is_empty() {
        lines.push(columns(WIDTH, ["NAME", "STATE", "PID", "ADDRESS", "AGE", "MEMORY"], rows));
    }
    lines.extend(targets(&status.targets));
    for process in status.processes.iter().filter(|process| process.state == State::Dead) {
        lines.push(format!("\n{} is dead; it wrote last:", process.name));
        lines.extend(process.last_lines.iter().map(|line| format!("  {line}")));
    }
    if !status.complete {
        lines.push("\nThe last `sre up` did not come to its end.".into());
    }
    lines.extend(next(status));
    lines.join("\n")
}

/// What to do next, where something is not well.
fn next(status: &LabStatus) -> Option<String> {
    if status.healthy {
        return None;
    }
    let dead = status.processes.iter().any(|process| process.state != State::Running);
    Some(match status.target {
        TargetKind::External => {
            "→ start or mend it yourself: sre starts nothing on the target external".into()
        }
        _ if dead || !status.complete => "→ sre up mends it".into(),
        _ if status.targets.error.is_some() => "→ sre logs prometheus".into(),
        // What runs is not started again by `up`, whatever a scrape of it says.
        _ => match status.targets.unhealthy.first().map(|target| &target.instance) {
            Some(instance) => {
                let of = |process: &&ProcessStatus| process.address.as_ref() == Some(instance);
                let name = status.processes.iter().find(of).map_or("NAME", |process| process.name.as_str());
                format!("→ its process runs: sre logs {name}; what was only just started is scraped soon")
            }
            None => "→ sre up mends it".into(),
        },
    })
}

/// More targets that are not healthy are for machines: what is down for one reason is down a thousand times.
const MOST_TARGETS: usize = 20;

/// How many targets are healthy, and which are not.
pub(super) fn targets(targets: &TargetsStatus) -> Vec<String> {
    let mut lines = vec![match &targets.error {
        Some(error) => format!("\ntargets: Prometheus cannot be asked: {error}"),
        None => format!("\ntargets: {} of {} healthy", targets.healthy, targets.total),
    }];
    for target in targets.unhealthy.iter().take(MOST_TARGETS) {
        let why = if target.error.is_empty() { "not scraped yet" } else { &target.error };
        lines.push(format!("  ✘ {} {}: {why}", target.job, target.instance));
    }
    if targets.unhealthy.len() > MOST_TARGETS {
        let more = count((targets.unhealthy.len() - MOST_TARGETS) as u64);
        lines.push(format!("  … {more} more: -o json"));
    }
    lines
}

/// How long ago something was, as kubectl tells it.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - since.as_second()).max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::local::health::Target;

    #[test]
    fn a_dead_process_is_shown_with_what_it_wrote_last() {
        let process = |name: &str, state, last_lines: &[&str]| ProcessStatus {
            name: name.into(),
            state,
            pid: 4711,
            address: Some("127.0.0.1:15001".into()),
            since: None,
            memory_bytes: (state != State::Dead).then_some(73_400_320),
            last_lines: last_lines.iter().map(|line| line.to_string()).collect(),
        };
        let status = LabStatus {
            stack: "users-api".into(),
            target: TargetKind::Local,
            healthy: false,
            complete: true,
            versions: [("prometheus".to_owned(), "3.15.0".to_owned())].into_iter().collect(),
            processes: vec![
                process("prometheus", State::Running, &[]),
                process("users-api-0", State::Dead, &["thread main panicked", "disk full"]),
            ],
            targets: TargetsStatus {
                healthy: 1,
                total: 2,
                unhealthy: vec![Target {
                    job: "users-api".into(),
                    instance: "127.0.0.1:15001".into(),
                    healthy: false,
                    error: "connection refused".into(),
                    last_scrape: jiff::Timestamp::UNIX_EPOCH,
                }],
                error: None,
            },
        };
        insta::assert_snapshot!(screen(&status), @r"
        users-api on local · prometheus 3.15.0
        NAME         STATE    PID   ADDRESS          AGE  MEMORY
        prometheus   running  4711  127.0.0.1:15001       70 MiB
        users-api-0  dead     4711  127.0.0.1:15001

        targets: 1 of 2 healthy
          ✘ users-api 127.0.0.1:15001: connection refused

        users-api-0 is dead; it wrote last:
          thread main panicked
          disk full
        → sre up mends it
        ");
    }
}
