//! The notification arrived at the receiver, firing and resolved.

use serde_json::json;

use super::configuration::longest_wait;
use super::episode::Known;
use super::fate;
use super::sought::{Looked, Sought, Told, Why, seconds};
use super::verdict::Seen;
use crate::check::context::{CheckContext, missing};
use crate::check::wait::pause;
use crate::check::{Group, Kind, Outcome, Verdict};
use crate::error::{Error, Result};
use crate::figures::duration;
use crate::observe::{Alertmanager, Receiver};
use crate::scenario::AlertCheck;
use crate::target::TargetKind;

/// An outcome for the alert's notification and one for its resolution's, where delivery was asked for; else
/// one that tells whether the way of notifications is whole.
///
/// # Errors
/// Interrupted (130, 143).
pub async fn check(context: &CheckContext<'_>, asked: &AlertCheck, seen: &Seen) -> Result<Vec<Outcome>> {
    if !asked.notified {
        return Ok(whole_way(context).await.into_iter().collect());
    }
    let Known::At(fired) = seen.episode.fired else {
        let reason = format!("{} was never seen to fire.", asked.name);
        return Ok(vec![blind(context, "the notification arrived").noted(reason)]);
    };
    let resolved = match seen.episode.resolved {
        Known::At(resolved) => Some(resolved),
        _ => None,
    };
    let mut outcomes = Vec::new();
    let ways = [
        ("the notification arrived", "firing", Some(fired), "the alert fired"),
        ("the resolution was notified", "resolved", resolved, "it resolved"),
    ];
    for (name, status, since, event) in ways {
        let Some(since) = since else {
            outcomes.push(blind(context, name).noted(format!("{} was not seen to resolve.", asked.name)));
            continue;
        };
        let told = Told { status, since, event, name };
        outcomes.push(delivered(context, asked, seen, &told).await?);
    }
    Ok(outcomes)
}

async fn delivered(
    context: &CheckContext<'_>,
    asked: &AlertCheck,
    seen: &Seen,
    told: &Told<'_>,
) -> Result<Outcome> {
    let allowed = asked.delivered.as_secs_f64();
    let mut stopwatch = context.patience(std::time::Duration::ZERO);
    loop {
        let looked = match context.time().await {
            Ok(now) => look(context, now).await,
            Err(error) => Err(error.into()),
        };
        let looked = match looked {
            Ok(looked) => looked,
            Err(Unseen { error, gone: true }) if stopwatch.gives_up(&error) => {
                // Delivery was asked for, and nobody is there who could have got it.
                let outcome = outcome(context, told.name, Verdict::Fail, "not delivered".into());
                return Ok(outcome.noted(error.to_string()));
            }
            Err(Unseen { error, .. }) if stopwatch.gives_up(&error) => {
                return Ok(blind(context, told.name).noted(error.to_string()));
            }
            Err(Unseen { error, .. }) => {
                context.waiting(told.name, error.what())?;
                pause(context.interrupt, stopwatch.next()).await?;
                continue;
            }
        };
        let horizon = context.horizon.unwrap_or(f64::MAX);
        let sought = Sought { asked, expectation: &seen.expectation, told, horizon, interval: seen.interval };
        if let Some(after) = sought.arrival(&looked) {
            return Ok(arrived(context, told, after, allowed));
        }
        if looked.now > told.since + allowed {
            let untold = fate::ask(context).await?;
            let fates = fate::known(context);
            let why = sought.why(&looked, &fates, &seen.alerts, untold.as_ref());
            return Ok(missed(context, &sought, why, allowed).await);
        }
        let left = duration(told.since + allowed - looked.now);
        context.waiting(told.name, &format!("waiting for the notification ({left} left)"))?;
        fate::ask(context).await?;
        pause(context.interrupt, stopwatch.next()).await?;
    }
}

fn arrived(context: &CheckContext<'_>, told: &Told<'_>, after: f64, allowed: f64) -> Outcome {
    let verdict = if after <= allowed { Verdict::Pass } else { Verdict::Fail };
    let message = match verdict {
        Verdict::Pass => format!("{} after {}", duration(after.max(0.0)), told.event),
        _ => format!("{} after {} ({} allowed)", duration(after), told.event, duration(allowed)),
    };
    let mut outcome = outcome(context, told.name, verdict, message);
    outcome.evidence = json!({"after_seconds": after, "allowed_seconds": allowed});
    outcome
}

/// It did not come: with all that is known of why.
async fn missed(context: &CheckContext<'_>, sought: &Sought<'_>, why: Why, allowed: f64) -> Outcome {
    let message = match why.verdict {
        Verdict::Fail => format!("not within {} after {}", duration(allowed), sought.told.event),
        _ => "no data".into(),
    };
    let mut outcome = outcome(context, sought.told.name, why.verdict, message);
    outcome.notes = why.notes;
    match alertmanager(context) {
        Ok(client) => outcome.notes.extend(of_alertmanager(&client, sought, allowed).await),
        Err(error) => outcome.notes.push(error.to_string()),
    }
    outcome
}

/// What Alertmanager's start and its configuration tell of a notification that is late.
async fn of_alertmanager(client: &Alertmanager, sought: &Sought<'_>, allowed: f64) -> Vec<String> {
    let mut notes = Vec::new();
    match client.started().await {
        Err(error) => return vec![error.to_string()],
        Ok(Some(started)) if seconds(started) > sought.told.since => notes.push(
            "Alertmanager was started after that: it knows nothing until Prometheus sends its alerts again, a minute \
             later where `--rules.alert.resend-delay` is not set."
                .into(),
        ),
        Ok(_) => {}
    }
    if let Some(wait) =
        client.config().await.ok().map(|text| longest_wait(&text)).filter(|wait| *wait > allowed)
    {
        notes.push(format!(
            "Alertmanager may wait {} before it tells of a change in a group (`group_wait`, `group_interval`): \
             `delivered` allows {}.",
            duration(wait),
            duration(allowed)
        ));
    }
    notes
}

/// Why it was not seen what came.
struct Unseen {
    error: Error,
    /// Nobody takes a connection at the receiver's address: nobody gets notifications there either.
    gone: bool,
}

impl From<Error> for Unseen {
    fn from(error: Error) -> Unseen {
        Unseen { error, gone: false }
    }
}

/// What the receiver has. Prometheus was asked for its time before: what comes later is not missed.
async fn look(context: &CheckContext<'_>, now: f64) -> Result<Looked, Unseen> {
    let endpoint = context.endpoints.receiver.as_ref().ok_or_else(|| missing("receiver of notifications"))?;
    // The receiver tells time by a clock that need not be Prometheus'.
    let ahead = seconds(jiff::Timestamp::now()) - now;
    let receiver = Receiver::new(endpoint)?;
    match receiver.notifications().await {
        Ok(notifications) => Ok(Looked { notifications, ahead, now }),
        Err(error) => Err(Unseen { error, gone: receiver.is_gone().await }),
    }
}

fn alertmanager(context: &CheckContext<'_>) -> Result<Alertmanager> {
    Alertmanager::new(context.endpoints.alertmanager.as_ref().ok_or_else(|| missing("Alertmanager"))?)
}

/// Nobody asked for delivery, but a way that is there and broken hides what alerts would have told.
async fn whole_way(context: &CheckContext<'_>) -> Option<Outcome> {
    let mut reasons = Vec::new();
    if context.endpoints.alertmanager.is_some() {
        let answer = match alertmanager(context) {
            Ok(client) => client.version().await,
            Err(error) => Err(error),
        };
        reasons.extend(answer.err());
    }
    if let Some(endpoint) = &context.endpoints.receiver {
        let answer = match Receiver::new(endpoint) {
            Ok(receiver) => receiver.notifications().await,
            Err(error) => Err(error),
        };
        reasons.extend(answer.err());
    }
    if reasons.is_empty() {
        return None;
    }
    let mut outcome = blind(context, "notifications can be delivered");
    outcome.notes.extend(reasons.iter().map(ToString::to_string));
    Some(outcome)
}

fn outcome(context: &CheckContext<'_>, name: &str, verdict: Verdict, message: String) -> Outcome {
    let of = |endpoint: &Option<crate::target::Endpoint>, page: &str| {
        endpoint.as_ref().map(|endpoint| format!("{}{page}", endpoint.url.as_str().trim_end_matches('/')))
    };
    let hint = match context.target {
        TargetKind::External => {
            let places = [
                of(&context.endpoints.alertmanager, "/#/alerts"),
                of(&context.endpoints.receiver, "/notifications"),
            ];
            let places: Vec<String> = places.into_iter().flatten().collect();
            format!("What came, and what Alertmanager does with it: {}.", places.join(", "))
        }
        _ => "`sre logs alertmanager` and `sre logs receiver` tell more.".into(),
    };
    Outcome::new(Kind::Notification, Group::Alerts, name, verdict, message).hinted(&hint)
}

fn blind(context: &CheckContext<'_>, name: &str) -> Outcome {
    outcome(context, name, Verdict::NoData, "no data".into())
}
