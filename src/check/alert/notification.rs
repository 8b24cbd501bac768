//! The notification arrived at the receiver, firing and resolved.

use serde_json::json;

use super::episode::{Episode, Expectation};
use crate::check::context::{CheckContext, missing};
use crate::check::wait::pause;
use crate::check::{Group, Kind, Outcome, Verdict};
use crate::error::Result;
use crate::figures::duration;
use crate::observe::{Alertmanager, Notification, Receiver};
use crate::scenario::AlertCheck;

/// An outcome for the alert's notification and one for its resolution's, where delivery was asked for; else
/// one that tells whether the way of notifications is whole.
///
/// # Errors
/// Interrupted (130, 143).
pub async fn check(
    context: &CheckContext<'_>,
    asked: &AlertCheck,
    expectation: &Expectation,
    episode: &Episode,
) -> Result<Vec<Outcome>> {
    if !asked.notified {
        return Ok(whole_way(context).await.into_iter().collect());
    }
    let Some(fired) = episode.fired else {
        let reason = format!("{} was never seen to fire.", asked.name);
        return Ok(vec![blind("the notification arrived").noted(reason)]);
    };
    let mut outcomes = Vec::new();
    let ways = [
        ("the notification arrived", "firing", Some(fired), "the alert fired"),
        ("the resolution was notified", "resolved", episode.resolved, "it resolved"),
    ];
    for (name, status, since, event) in ways {
        let Some(since) = since else {
            outcomes.push(blind(name).noted(format!("{} was not seen to resolve.", asked.name)));
            continue;
        };
        let told = Told { status, since, event, name };
        outcomes.push(delivered(context, asked, expectation, &told).await?);
    }
    Ok(outcomes)
}

/// What a notification has to tell.
struct Told<'a> {
    name: &'a str,
    status: &'a str,
    since: f64,
    event: &'a str,
}

async fn delivered(
    context: &CheckContext<'_>,
    asked: &AlertCheck,
    expectation: &Expectation,
    told: &Told<'_>,
) -> Result<Outcome> {
    let mut stopwatch = context.patience(std::time::Duration::ZERO);
    loop {
        let (arrived, now) = match look(context, asked, expectation, told).await {
            Ok(seen) => seen,
            Err(error) if stopwatch.gives_up(&error) => {
                // Delivery was asked for: a receiver that cannot be reached did not get it.
                let mut outcome = outcome(told.name, Verdict::Fail, "not delivered".into());
                outcome.notes.push(error.to_string());
                return Ok(outcome);
            }
            Err(error) => {
                context.waiting(told.name, error.what())?;
                pause(context.interrupt, stopwatch.next()).await?;
                continue;
            }
        };
        let allowed = asked.delivered.as_secs_f64();
        if let Some(after) = arrived {
            let verdict = if after <= allowed { Verdict::Pass } else { Verdict::Fail };
            let message = match verdict {
                Verdict::Pass => format!("{} after {}", duration(after.max(0.0)), told.event),
                _ => format!("{} after {} ({} allowed)", duration(after), told.event, duration(allowed)),
            };
            let mut outcome = outcome(told.name, verdict, message);
            outcome.evidence = json!({"after_seconds": after, "allowed_seconds": allowed});
            return Ok(outcome);
        }
        if now > told.since + allowed {
            let mut outcome = outcome(
                told.name,
                Verdict::Fail,
                format!("not within {} after {}", duration(allowed), told.event),
            );
            if let Err(error) = alertmanager(context).await {
                outcome.notes.push(error.to_string());
            }
            return Ok(outcome);
        }
        let left = duration(told.since + allowed - now);
        context.waiting(told.name, &format!("waiting for the notification ({left} left)"))?;
        pause(context.interrupt, stopwatch.next()).await?;
    }
}

/// How long after the event the notification arrived, if it did, and Prometheus' time now.
async fn look(
    context: &CheckContext<'_>,
    asked: &AlertCheck,
    expectation: &Expectation,
    told: &Told<'_>,
) -> Result<(Option<f64>, f64)> {
    let endpoint = context.endpoints.receiver.as_ref().ok_or_else(|| missing("receiver of notifications"))?;
    let notifications = Receiver::new(endpoint)?.notifications().await?;
    let now = context.prometheus()?.time().await?;
    // The receiver tells time by a clock that need not be Prometheus'.
    let ahead = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0 - now;
    let horizon = context.horizon.unwrap_or(f64::MAX);
    Ok((arrival(&notifications, asked, expectation, told, ahead, horizon), now))
}

fn arrival(
    notifications: &[Notification],
    asked: &AlertCheck,
    expectation: &Expectation,
    told: &Told<'_>,
    ahead: f64,
    horizon: f64,
) -> Option<f64> {
    let meant = |notification: &&Notification| {
        notification.alerts.iter().any(|alert| {
            alert.status == told.status
                && alert.labels.get("alertname") == Some(&asked.name)
                && expectation.is_meant(&alert.labels)
                // Alerts of the same name of an earlier run and of a later one are not meant.
                && (expectation.from..horizon).contains(&(alert.starts_at.as_millisecond() as f64 / 1000.0))
        })
    };
    let mut arrivals =
        notifications.iter().filter(meant).map(|n| n.received.as_millisecond() as f64 / 1000.0 - ahead);
    match told.status {
        // An alert that came back was resolved more than once: what came before its end tells of an earlier one.
        "resolved" => arrivals.find(|arrived| *arrived >= told.since - expectation.interval),
        _ => arrivals.next(),
    }
    .map(|arrived| arrived - told.since)
}

async fn alertmanager(context: &CheckContext<'_>) -> Result<String> {
    let endpoint = context.endpoints.alertmanager.as_ref().ok_or_else(|| missing("Alertmanager"))?;
    Alertmanager::new(endpoint)?.version().await
}

/// Nobody asked for delivery, but a way that is there and broken hides what alerts would have told.
async fn whole_way(context: &CheckContext<'_>) -> Option<Outcome> {
    let mut reasons = Vec::new();
    if context.endpoints.alertmanager.is_some() {
        reasons.extend(alertmanager(context).await.err());
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
    let mut outcome = blind("notifications can be delivered");
    outcome.notes.extend(reasons.iter().map(ToString::to_string));
    Some(outcome)
}

fn outcome(name: &str, verdict: Verdict, message: String) -> Outcome {
    Outcome::new(Kind::Notification, Group::Alerts, name, verdict, message)
        .hinted("`sre logs alertmanager` and `sre logs receiver` tell more.")
}

fn blind(name: &str) -> Outcome {
    outcome(name, Verdict::NoData, "no data".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Labels, NotifiedAlert};

    fn notification(status: &str, starts: i64, received: i64) -> Notification {
        let time = |second| jiff::Timestamp::from_second(second).expect("a time");
        Notification {
            received: time(received),
            alerts: vec![NotifiedAlert {
                status: status.into(),
                labels: Labels::from([("alertname".into(), "A".into())]),
                starts_at: time(starts),
            }],
        }
    }

    fn after(notifications: &[Notification], status: &str, since: f64, horizon: f64) -> Option<f64> {
        let asked = json!({"name": "A", "fires": "30s", "resolves": "1m"});
        let expectation = Expectation {
            labels: Labels::new(),
            instances: Vec::new(),
            from: 100.0,
            fires_by: 130.0,
            until: 160.0,
            resolves_by: 220.0,
            interval: 1.0,
        };
        let told = Told { name: "", status, since, event: "" };
        let asked = serde_json::from_value(asked).expect("a check");
        arrival(notifications, &asked, &expectation, &told, 0.0, horizon)
    }

    #[test]
    fn alerts_of_the_runs_before_and_after_are_not_meant() {
        let of_runs = [
            notification("firing", 50, 51),
            notification("resolved", 50, 101),
            notification("firing", 110, 111),
            notification("resolved", 110, 172),
            notification("firing", 400, 401),
            notification("resolved", 400, 460),
        ];
        assert_eq!(after(&of_runs, "firing", 110.0, 390.0), Some(1.0));
        assert_eq!(after(&of_runs, "resolved", 171.0, 390.0), Some(1.0));
        assert_eq!(after(&of_runs[..3], "resolved", 171.0, 390.0), None);
        assert_eq!(after(&of_runs[4..], "firing", 110.0, 390.0), None);
    }

    #[test]
    fn the_end_of_an_earlier_episode_is_not_the_end() {
        let came_back = [notification("resolved", 110, 121), notification("firing", 130, 131)];
        assert_eq!(after(&came_back, "resolved", 171.0, f64::MAX), None);
    }
}
