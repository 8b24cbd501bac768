//! Check `targets`: every scrape target is healthy.

use super::context::CheckContext;
use super::wait::until_pass;
use super::{Group, Kind, Outcome, Table, Verdict};
use crate::error::Result;
use crate::figures::count;
use crate::observe::{Health, Target};
use crate::scenario::TargetsCheck;
use crate::target::TargetKind;

/// Every scrape target is healthy, and every replica is among them.
///
/// A target that cannot be scraped is not a failure of the service: it hides what the service did. So the
/// verdict is `pass` or `no-data`.
///
/// # Errors
/// Interrupted (130, 143).
pub async fn check(context: &CheckContext<'_>, asked: &TargetsCheck) -> Result<Outcome> {
    let job = context.stack.counter.job.as_ref();
    let somebody_else_s = context.target == TargetKind::External && asked.jobs.is_empty();
    // What else somebody's Prometheus scrapes is no matter of this service.
    let asked = &match job.filter(|_| somebody_else_s) {
        Some(job) => TargetsCheck { jobs: vec![job.clone()], ..asked.clone() },
        None => asked.clone(),
    };
    // Replicas are missed where their job is asked about.
    let asked_about = asked.jobs.is_empty() || job.is_some_and(|job| asked.jobs.contains(job));
    let replicas = if asked_about { context.endpoints.scraped() } else { Vec::new() };
    let jobs: &[String] = match (job, asked.jobs.as_slice()) {
        (Some(job), []) => std::slice::from_ref(job),
        (_, jobs) => jobs,
    };
    let look = || async {
        let mut targets = context.prometheus()?.targets_with(jobs).await?;
        if somebody_else_s && asked.jobs.is_empty() && !replicas.is_empty() {
            targets.retain(|target| replicas.iter().any(|(_, instance)| instance == target.instance()));
        }
        Ok(judge(&targets, asked, &replicas))
    };
    until_pass(context, asked.wait.get(), look, |error| blind(error.to_string())).await
}

/// What must hold, as the outcome says it.
pub const NAME: &str = "every target is scraped";

fn blind(reason: String) -> Outcome {
    Outcome::no_data(Kind::Targets, Group::Targets, NAME)
        .noted(reason)
        .hinted("Is Prometheus up? `sre status` tells.")
}

/// Rows of the table at the most: what is down for one reason is down a thousand times.
const ROWS: usize = 20;

/// The verdict on what Prometheus scrapes.
pub(super) fn judge(targets: &[Target], asked: &TargetsCheck, replicas: &[(String, String)]) -> Outcome {
    let asked_for =
        |target: &&Target| asked.jobs.is_empty() || asked.jobs.iter().any(|job| job == target.job());
    let targets: Vec<&Target> = targets.iter().filter(asked_for).collect();
    let down: Vec<&&Target> = targets.iter().filter(|target| target.health != Health::Up).collect();
    let missing: Vec<&(String, String)> = replicas
        .iter()
        .filter(|(_, instance)| !targets.iter().any(|target| target.instance() == instance))
        .collect();
    let all = targets.len() + missing.len();
    let up = targets.len() - down.len();
    let verdict = if all > 0 && up == all { Verdict::Pass } else { Verdict::NoData };
    let message = format!("{} of {}", count(up as u64), count(all as u64));
    let mut outcome = Outcome::new(Kind::Targets, Group::Targets, NAME, verdict, message)
        .hinted("What is not scraped is not seen: `sre status` tells more.");
    if verdict != Verdict::Pass {
        let row = |job: &str, instance: &str, why: &str| vec![job.into(), instance.into(), why.into()];
        let mut rows: Vec<Vec<String>> = Vec::new();
        for target in down {
            let why = match target.health {
                Health::Unknown => "not scraped yet",
                _ => target.last_error.as_str(),
            };
            rows.push(row(target.job(), target.instance(), why));
        }
        rows.extend(
            missing.iter().map(|(name, instance)| row(name, instance, "not among Prometheus' targets")),
        );
        if all == 0 {
            outcome.notes.push("Prometheus has no scrape target.".into());
        }
        rows.sort();
        let more = rows.len().saturating_sub(ROWS);
        if more > 0 {
            rows.truncate(ROWS);
            rows.push(vec![format!("… {} more", count(more as u64)), String::new(), String::new()]);
        }
        let columns = ["job", "instance", "why"].map(String::from).to_vec();
        outcome.table = (!rows.is_empty()).then_some(Table { columns, rows });
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Labels;

    fn target(instance: &str, health: Health) -> Target {
        Target {
            labels: Labels::from([("job".into(), "a".into()), ("instance".into(), instance.into())]),
            scrape_url: String::new(),
            last_error: "refused".into(),
            health,
            last_scrape: jiff::Timestamp::UNIX_EPOCH,
            scrape_interval: String::new(),
            scrape_timeout: String::new(),
            by_up: false,
        }
    }

    fn verdict(targets: &[Target], replicas: &[&str]) -> (Verdict, String) {
        let replicas: Vec<_> = replicas.iter().map(|i| ((*i).to_owned(), (*i).to_owned())).collect();
        let outcome = judge(targets, &TargetsCheck::default(), &replicas);
        (outcome.verdict, outcome.message)
    }

    #[test]
    fn no_target_is_no_data() {
        assert_eq!(verdict(&[], &[]), (Verdict::NoData, "0 of 0".into()));
    }

    #[test]
    fn a_replica_that_is_not_scraped_is_no_data() {
        assert_eq!(verdict(&[target("x", Health::Up)], &["x", "y"]), (Verdict::NoData, "1 of 2".into()));
        assert_eq!(verdict(&[target("x", Health::Up)], &["x"]), (Verdict::Pass, "1 of 1".into()));
    }

    #[test]
    fn thousands_of_targets_that_are_down_are_a_short_table() {
        let targets: Vec<Target> =
            (0..5000).rev().map(|i| target(&format!("10.0.0.1:{i:05}"), Health::Down)).collect();
        let outcome = judge(&targets, &TargetsCheck::default(), &[]);
        let rows = outcome.table.expect("a table").rows;
        assert_eq!((rows.len(), rows[0][1].as_str()), (ROWS + 1, "10.0.0.1:00000"));
        assert_eq!(rows[ROWS][0], "… 4,980 more");
        assert_eq!(outcome.message, "0 of 5,000");
    }

    #[test]
    fn a_target_that_is_down_or_unknown_is_no_data() {
        assert_eq!(verdict(&[target("x", Health::Down)], &[]).0, Verdict::NoData);
        assert_eq!(verdict(&[target("x", Health::Unknown)], &[]).0, Verdict::NoData);
    }
}
