//! Takes the baseline before the load, and waits afterwards until counts agree or the bound ends.

use std::time::{Duration, Instant};

use super::absence;
use super::baseline::Baseline;
use super::duplicates::{self, Sorted};
use super::fetch::{self, Counters, Seen};
use super::history::TargetHistory;
use super::judge::{Case, Judgement};
use super::ledger::Ledger;
use super::pods;
use super::reading::{Question, Selector};
use super::{CLOCKS, NAME};
use crate::check::context::CheckContext;
use crate::check::wait::{USUAL_TIMEOUT, pause, seconds_of};
use crate::check::{Group, Kind, Outcome};
use crate::error::{Error, Result};
use crate::figures::{clock, counted};
use crate::observe::{Prometheus, Target};
use crate::scenario::{ReconcileCheck, Scenario};
use crate::stack::Stack;
use crate::target::{PodChanges, ServicePod};

/// Reads every target's counters in a scrape that is newer than this call, so that nothing that was sent
/// earlier is still on its way; where a target does not get one in time, its last one stands. Where the scenario says
/// that counters are behind, that is waited for first.
///
/// `waiting` is told what is waited for.
///
/// # Errors
/// No data (exit 3) where Prometheus does not answer, or how often it scrapes cannot be read.
pub async fn take_baseline(
    prometheus: &Prometheus,
    stack: &Stack,
    scenario: &Scenario,
    instances: &[String],
    waiting: &(dyn Fn(&str) + Sync),
) -> Result<Baseline> {
    let counters = counters(stack, scenario);
    let settled = scenario.counters_lag().as_secs_f64();
    let asked = prometheus.time().await? + settled;
    let targets = prometheus.targets_with(jobs(stack)).await?;
    let round = longest_round(&targets, stack.counter.job.as_deref())?;
    if settled > 0.0 {
        waiting(&format!(
            "waiting {settled:.0} s, so that what was sent before the load is counted before it (`reconcile`)"
        ));
    } else if round > 5.0 {
        waiting(&format!("waiting for a scrape of every target before the load (up to {round:.0} s)"));
    }
    loop {
        let mut baseline = fetch::baseline(prometheus, &counters, instances, round).await?;
        baseline.settled = settled;
        for known in &mut baseline.targets {
            let target = targets.iter().find(|target| target.labels == known.labels);
            known.scrape_url = target.map(|target| target.scrape_url.clone());
        }
        // What was scraped a while ago and is no target any more has no part in the run. What another Prometheus
        // scrapes, and this one federates, is no target here, and goes on.
        baseline.targets.retain(|known| known.scrape_url.is_some() || baseline.at - known.scraped < round);
        let fresh = baseline.targets.iter().filter(|target| target.scraped > asked).count();
        let expected = instances.len().max(baseline.targets.len());
        if (fresh == expected && fresh > 0) || baseline.at > asked + round {
            return Ok(baseline);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The job of the counter's targets.
pub(super) fn jobs(stack: &Stack) -> &[String] {
    stack.counter.job.as_slice()
}

fn counters<'a>(stack: &'a Stack, scenario: &Scenario) -> Counters<'a> {
    let raises = scenario.requests.values().flat_map(|request| &request.raises);
    let mut others: Vec<String> =
        raises.filter_map(|raises| Selector::parse(&raises.series)).map(|s| s.name().to_owned()).collect();
    others.sort();
    others.dedup();
    others.retain(|name| *name != stack.counter.metric);
    Counters { counter: &stack.counter, others }
}

/// What Prometheus does where nothing else is configured; some stand-ins do not tell it.
const USUAL_INTERVAL: f64 = 60.0;

/// Seconds in which every target is scraped twice, if all goes well: those of the job, or all where none is of it.
pub(super) fn longest_round(targets: &[Target], job: Option<&str>) -> Result<f64> {
    let of_job = |target: &&Target| job.is_none_or(|job| target.job() == job);
    let asked_about: Vec<&Target> = match targets.iter().filter(of_job).collect::<Vec<_>>() {
        none if none.is_empty() => targets.iter().collect(),
        some => some,
    };
    let mut longest = 3.0f64;
    for target in asked_about {
        let interval = told_seconds(target, &target.scrape_interval, USUAL_INTERVAL)?;
        let timeout = told_seconds(target, &target.scrape_timeout, USUAL_TIMEOUT)?;
        longest = longest.max(2.0 * interval + timeout);
    }
    Ok(longest)
}

/// What Prometheus tells of a target's scrapes; an interval that cannot be read is no wait that could be left out.
fn told_seconds(target: &Target, told: &str, usual: f64) -> Result<f64> {
    if told.is_empty() {
        return Ok(usual);
    }
    seconds_of(told).ok_or_else(|| {
        Error::no_data(format!("nobody knows how long to wait for scrapes of {}", target.instance()))
            .because_of(format!("Prometheus tells `{told}`, which is no length of time"))
    })
}

/// Holds what the client knows against the server's counters.
///
/// # Errors
/// Interrupted (130, 143). Whatever Prometheus cannot tell is a verdict, not an error.
pub async fn check(context: &CheckContext<'_>, asked: &ReconcileCheck) -> Result<Vec<Outcome>> {
    let no_data = |reason: String| {
        let mut outcome = Outcome::no_data(Kind::Reconcile, Group::Counts, NAME)
            .noted(reason)
            .hinted("Is Prometheus up, and does it scrape the service? `sre status` tells.");
        let sent = context.load.summary.total.sent;
        outcome.evidence = serde_json::json!({
            "sent": sent, "unknown": context.load.summary.total.unknown, "counted": null,
        });
        vec![outcome]
    };
    if !context.load.summary.lost.is_empty() {
        let mut outcomes = no_data("A worker was lost, and nobody knows what it sent.".into());
        outcomes[0].hint = Some(Kind::Generator.documentation());
        return Ok(outcomes);
    }
    let Some(baseline) = context.baseline else {
        return Ok(no_data("The counters were not read before the load.".into()));
    };
    if context.load.summary.total.sent == 0 {
        return Ok(no_data("Nothing was sent: there is nothing to count.".into()));
    }
    let prometheus = match context.prometheus() {
        Ok(prometheus) => prometheus,
        Err(error) => return Ok(no_data(error.to_string())),
    };
    let requests = context.scenario.requests.iter().map(|(name, request)| (name.as_str(), request));
    let ledger = Ledger::new(&context.stack.counter, requests, &context.load.summary.tallies);
    let mut ended = context.load.prometheus_ended;
    let mut stopwatch = context.patience(asked.wait.get());
    let started = Instant::now();
    loop {
        let looking = look(context, prometheus, asked, baseline, &ledger, &mut ended, started);
        let seen = context.interrupt.or(looking).await?;
        let message = match seen {
            Ok(Judgement::Final(outcomes)) => return Ok(outcomes),
            Ok(Judgement::Wait(message)) => message,
            // Prometheus may come back within the bound.
            Err(error) if stopwatch.gives_up(&error) => return Ok(no_data(error.to_string())),
            Err(error) => format!("waiting for Prometheus: {}", error.what()),
        };
        context.waiting(NAME, &message)?;
        pause(context.interrupt, stopwatch.next()).await?;
    }
}

/// Targets of the service that did not run from the baseline on: the `instance` label of each, and what is known of it.
///
/// # Errors
/// No data (exit 3) where the counters were not read before the load, or Prometheus does not answer.
pub async fn interruptions(
    context: &CheckContext<'_>,
    prometheus: &Prometheus,
) -> Result<Vec<(String, String)>> {
    let baseline =
        context.baseline.ok_or_else(|| Error::no_data("the counters were not read before the load"))?;
    let now = prometheus.time().await?.min(context.horizon.unwrap_or(f64::MAX));
    let instances: Vec<String> =
        context.endpoints.scraped().into_iter().map(|(_, instance)| instance).collect();
    let counters = counters(context.stack, context.scenario);
    let targets = prometheus.targets_with(jobs(context.stack)).await?;
    let histories = fetch::since(prometheus, &counters, &instances, baseline, now).await?.histories;
    Ok(histories
        .into_iter()
        .filter_map(|history| {
            let what = match history.count(now).restarts.first() {
                Some(gap) => format!("was started again between {} and {}", clock(gap.from), clock(gap.to)),
                None if targets.iter().all(|target| target.labels != history.labels) => "is gone".into(),
                None => return None,
            };
            Some((history.instance().to_owned(), what))
        })
        .collect())
}

async fn look(
    context: &CheckContext<'_>,
    prometheus: &Prometheus,
    asked: &ReconcileCheck,
    baseline: &Baseline,
    ledger: &Ledger,
    ended: &mut Option<f64>,
    started: Instant,
) -> Result<Judgement> {
    let now = prometheus.time().await?;
    // Any time after the last answer will do; without one from then, this is the first that is known.
    let ended = *ended.get_or_insert(now);
    let targets = prometheus.targets_with(jobs(context.stack)).await?;
    let job = context.stack.counter.job.as_deref();
    let round = match baseline.round {
        Some(round) => round,
        None => longest_round(&targets, job)?,
    };
    let lag = asked.lag().as_secs_f64();
    let deadline = ended + asked.wait.as_secs_f64().max(lag + round);
    // A clock that is set back meanwhile must not hold this up.
    let overdue = started.elapsed().as_secs_f64() > deadline - ended + round + CLOCKS;
    let past = overdue || context.horizon.is_some_and(|horizon| horizon < deadline);
    let until = context.horizon.unwrap_or(f64::MAX).min(deadline).min(now);
    let replicas = context.endpoints.scraped();
    let instances: Vec<String> = replicas.iter().map(|(_, instance)| instance.clone()).collect();
    let counters = counters(context.stack, context.scenario);
    let seen = fetch::since(prometheus, &counters, &instances, baseline, until).await?;
    let place = Place {
        prometheus,
        counters: &counters,
        targets: &targets,
        pods: (context.pods, &context.endpoints.pods),
        from: baseline.at,
        ended,
        until,
    };
    let Around { kept, named, mut doubts, instead } = sorted(&place, seen).await;
    if ledger.unbooked > 0 {
        let hops = counted(ledger.unbooked, "request");
        doubts.push(format!("{hops} of redirects led to more different paths than are told apart"));
    }
    let case = Case {
        question: Question { counter: &context.stack.counter, ledger, tolerance: asked.tolerance },
        histories: kept,
        duplicates: named,
        replicas,
        replaced: context.pods.gone.clone(),
        doubts,
        instead,
        answered: context.answered.to_vec(),
        round,
        lag,
        settled: baseline.settled,
        ended,
        deadline,
        now: if past { f64::MAX } else { now },
        clock_moved: context.load.clock_moved,
    };
    Ok(case.judge())
}

/// What counters are looked at, and in which stretch of time.
pub(super) struct Place<'a> {
    pub prometheus: &'a Prometheus,
    pub counters: &'a Counters<'a>,
    pub targets: &'a [Target],
    /// How the service's pods changed, and those that are there now.
    pub pods: (&'a PodChanges, &'a [ServicePod]),
    pub from: f64,
    /// The time after the last answer.
    pub ended: f64,
    pub until: f64,
}

/// The targets' histories, each target once, and what is known about them.
pub(super) struct Around {
    pub kept: Vec<TargetHistory>,
    /// Targets that are another one over again.
    pub named: Vec<String>,
    /// What does not fit together.
    pub doubts: Vec<String>,
    /// What there is instead of the counter's series, where there are none.
    pub instead: Option<String>,
}

/// Tells which of the targets are there, gone, new, or another one over again.
pub(super) async fn sorted(place: &Place<'_>, mut seen: Seen) -> Around {
    let (targets, counter) = (place.targets, place.counters.counter);
    let mut doubts: Vec<String> = fetch::orphaned(&seen).into_iter().collect();
    for history in &mut seen.histories {
        let target = targets.iter().find(|target| target.labels == history.labels);
        history.scrape_url = history.scrape_url.take().or(target.map(|target| target.scrape_url.clone()));
        history.gone = target.is_none() && !history.scrapes.iter().any(|s| s.time > place.ended);
    }
    let silent = seen.histories.iter().all(|history| history.series.is_empty()) && seen.orphans.is_empty();
    let instead = match silent {
        true => absence::explain(place.prometheus, counter, place.from, place.until).await,
        false => None,
    };
    let (changes, now) = place.pods;
    pods::mark(&mut seen.histories, changes, now);
    let addresses = duplicates::resolve(targets).await;
    let Sorted { kept, named, doubts: twice } =
        duplicates::leave_one(seen.histories, targets, counter.job.as_deref(), &addresses);
    doubts.extend(twice);
    Around { kept, named, doubts, instead }
}
