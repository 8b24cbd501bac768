//! The notification arrived at the receiver, firing and resolved.

use serde_json::json;

use super::episode::{self, Expectation, Known};
use super::fate::{self, Fate, Reason};
use super::verdict::Seen;
use crate::check::context::{CheckContext, missing};
use crate::check::wait::{pause, seconds_of};
use crate::check::{Group, Kind, Outcome, Verdict};
use crate::error::Result;
use crate::figures::{count, duration};
use crate::observe::{Alertmanager, Labels, Notification, NotifiedAlert, Receiver};
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

/// What a notification has to tell.
struct Told<'a> {
    name: &'a str,
    status: &'a str,
    since: f64,
    event: &'a str,
}

/// What the receiver has at one look, on Prometheus' clock.
struct Looked {
    notifications: Vec<Notification>,
    /// By how much the receiver's clock is ahead.
    ahead: f64,
    now: f64,
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
            // Delivery was asked for: a receiver that cannot be reached did not get it.
            Ok(now) => look(context, now).await.map_err(|error| (Verdict::Fail, "not delivered", error)),
            Err(error) => Err((Verdict::NoData, "no data", error)),
        };
        let looked = match looked {
            Ok(looked) => looked,
            Err((verdict, message, error)) if stopwatch.gives_up(&error) => {
                let outcome = outcome(context, told.name, verdict, message.into());
                return Ok(outcome.noted(error.to_string()));
            }
            Err((_, _, error)) => {
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
            fate::ask(context).await?;
            let fates = fate::known(context);
            let why = sought.why(&looked, &fates, &seen.alerts);
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

/// The longest time for which a group waits, by Alertmanager's configuration.
pub fn longest_wait(configuration: &str) -> f64 {
    let of = |key: &str, usual: f64| {
        let values =
            configuration.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key));
        values.filter_map(|value| seconds_of(value.trim())).reduce(f64::max).unwrap_or(usual)
    };
    of("group_interval:", 300.0).max(of("group_wait:", 30.0))
}

fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// What the receiver has. Prometheus was asked for its time before: what comes later is not missed.
async fn look(context: &CheckContext<'_>, now: f64) -> Result<Looked> {
    let endpoint = context.endpoints.receiver.as_ref().ok_or_else(|| missing("receiver of notifications"))?;
    // The receiver tells time by a clock that need not be Prometheus'.
    let ahead = seconds(jiff::Timestamp::now()) - now;
    let notifications = Receiver::new(endpoint)?.notifications().await?;
    Ok(Looked { notifications, ahead, now })
}

/// The notification that is looked for.
struct Sought<'a> {
    asked: &'a AlertCheck,
    expectation: &'a Expectation,
    told: &'a Told<'a>,
    horizon: f64,
    interval: f64,
}

/// Why a notification did not come.
struct Why {
    verdict: Verdict,
    notes: Vec<String>,
}

impl Sought<'_> {
    fn is_of_name(&self, labels: &Labels) -> bool {
        labels.get("alertname") == Some(&self.asked.name)
    }

    /// Alerts of the same name of an earlier run and of a later one are not meant.
    fn is_of_run(&self, starts_at: f64) -> bool {
        (self.expectation.from..self.horizon).contains(&starts_at)
    }

    /// How long after the event it arrived, if it did.
    fn arrival(&self, looked: &Looked) -> Option<f64> {
        let meant = |alert: &NotifiedAlert| {
            alert.status == self.told.status
                && self.is_of_name(&alert.labels)
                && self.expectation.is_meant(&alert.labels)
                && self.is_of_run(seconds(alert.starts_at))
        };
        self.first(looked, meant).map(|(arrived, _)| arrived - self.told.since)
    }

    /// The first arrival of such an alert, on Prometheus' clock.
    fn first<'n>(
        &self,
        looked: &'n Looked,
        is_sought: impl Fn(&NotifiedAlert) -> bool,
    ) -> Option<(f64, &'n NotifiedAlert)> {
        let found = |notification: &'n Notification| {
            let alert = notification.alerts.iter().find(|alert| is_sought(alert))?;
            Some((seconds(notification.received) - looked.ahead, alert))
        };
        let mut arrivals = looked.notifications.iter().filter_map(found);
        match self.told.status {
            // An alert that came back was resolved more than once: what came before its end tells of an earlier one.
            "resolved" => arrivals.find(|(arrived, _)| *arrived >= self.told.since - self.interval),
            _ => arrivals.next(),
        }
    }

    /// Why it did not come: as its labels were changed, others were left out, or Alertmanager does not notify of it.
    fn why(&self, looked: &Looked, fates: &[Fate], known: &[crate::observe::Series]) -> Why {
        let mut why = Why { verdict: Verdict::Fail, notes: Vec::new() };
        if let Some(labels) = self.relabelled(looked, fates, known) {
            why.verdict = Verdict::NoData;
            why.notes.push(format!(
                "One came as {}: its labels are changed on the way (external labels, alert_relabel_configs).",
                episode::display(&labels)
            ));
        }
        let since = self.expectation.from + looked.ahead;
        let later =
            looked.notifications.iter().filter(|notification| seconds(notification.received) >= since);
        let left_out: u64 = later.map(|notification| notification.truncated).sum();
        if left_out > 0 {
            why.verdict = Verdict::NoData;
            why.notes.push(format!(
                "Notifications left {} alerts out (`max_alerts` in Alertmanager): whether it was among them is not known.",
                count(left_out)
            ));
        }
        let meant = |fate: &&Fate| {
            self.is_of_name(&fate.labels)
                && self.expectation.is_meant(&fate.labels)
                && self.is_of_run(fate.starts_at)
        };
        let fates: Vec<&Fate> = fates.iter().filter(meant).collect();
        let mut reasons: Vec<&Reason> = fates.iter().flat_map(|fate| &fate.reasons).collect();
        reasons.dedup();
        for reason in &reasons {
            let (verdict, note) = tell(reason);
            // What whoever runs the monitoring has silenced is no fault of the alert.
            if verdict == Verdict::NoData {
                why.verdict = verdict;
            }
            if !why.notes.contains(&note) {
                why.notes.push(note);
            }
        }
        let mut receivers: Vec<&str> =
            fates.iter().flat_map(|fate| &fate.receivers).map(String::as_str).collect();
        receivers.sort_unstable();
        receivers.dedup();
        if !receivers.is_empty() && reasons.is_empty() {
            why.notes.push(format!("Alertmanager has it, and its routes lead to: {}.", receivers.join(", ")));
        }
        if fates.is_empty() && why.verdict == Verdict::Fail {
            why.notes.push("Alertmanager was not seen to have it.".into());
        }
        why
    }

    /// The labels of one that began to fire at the same time and is no other alert that is known.
    fn relabelled(
        &self,
        looked: &Looked,
        fates: &[Fate],
        known: &[crate::observe::Series],
    ) -> Option<Labels> {
        let own = |labels: &Labels| {
            let all = |series: &crate::observe::Series| {
                let mut named =
                    series.labels.iter().filter(|(name, _)| !name.starts_with("__") && *name != "alertstate");
                named.all(|(name, value)| labels.get(name) == Some(value))
            };
            known.iter().any(all)
        };
        let like = |labels: &Labels, starts_at: f64| {
            self.is_of_name(labels)
                && !self.expectation.is_meant(labels)
                && !own(labels)
                && self.is_of_run(starts_at)
        };
        let came = self.first(looked, |alert| {
            alert.status == self.told.status && like(&alert.labels, seconds(alert.starts_at))
        });
        let held = || fates.iter().find(|fate| like(&fate.labels, fate.starts_at));
        came.map(|(_, alert)| alert.labels.clone()).or_else(|| held().map(|fate| fate.labels.clone()))
    }
}

fn tell(reason: &Reason) -> (Verdict, String) {
    let verdict = match reason {
        Reason::Inhibited { .. } => Verdict::Fail,
        Reason::Silenced { .. } | Reason::Muted { .. } => Verdict::NoData,
    };
    (verdict, reason.in_words())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::alert::rule::tests::labels;

    fn notification(status: &str, starts: i64, received: i64) -> Notification {
        let time = |second| jiff::Timestamp::from_second(second).expect("a time");
        Notification {
            received: time(received),
            truncated: 0,
            alerts: vec![NotifiedAlert {
                status: status.into(),
                labels: labels(&[("alertname", "A")]),
                starts_at: time(starts),
            }],
        }
    }

    fn expectation(of: &[(&str, &str)]) -> Expectation {
        Expectation {
            labels: labels(of),
            instances: Vec::new(),
            from: 100.0,
            fires_by: 130.0,
            until: 160.0,
            resolves_by: 220.0,
            known_by: 162.0,
        }
    }

    /// What is told of a status that has been since then, the alert's labels being these.
    fn sought<T>(
        of: &[(&str, &str)],
        status: &str,
        since: f64,
        horizon: f64,
        told: impl Fn(&Sought<'_>) -> T,
    ) -> T {
        let asked = json!({"name": "A", "fires": "30s", "resolves": "1m"});
        let asked = serde_json::from_value(asked).expect("a check");
        let what = Told { name: "", status, since, event: "" };
        let expectation = expectation(of);
        told(&Sought { asked: &asked, expectation: &expectation, told: &what, horizon, interval: 1.0 })
    }

    fn looked(notifications: &[Notification]) -> Looked {
        Looked { notifications: notifications.to_vec(), ahead: 0.0, now: 1000.0 }
    }

    fn after(notifications: &[Notification], status: &str, since: f64, horizon: f64) -> Option<f64> {
        sought(&[], status, since, horizon, |sought| sought.arrival(&looked(notifications)))
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

    #[test]
    fn what_keeps_a_notification_away_is_told_as_what_it_is() {
        let fate = |reasons: Vec<Reason>| Fate {
            labels: labels(&[("alertname", "A"), ("severity", "ticket")]),
            starts_at: 110.0,
            receivers: vec!["nobody".into()],
            reasons,
        };
        let why = |fates: &[Fate], notifications: &[Notification]| {
            sought(&[("severity", "ticket")], "firing", 110.0, 390.0, |sought| {
                let why = sought.why(&looked(notifications), fates, &[]);
                (why.verdict, why.notes.join(" "))
            })
        };
        let by = labels(&[("alertname", "B"), ("severity", "page")]);
        let (verdict, told) = why(&[fate(vec![Reason::Inhibited { by }])], &[]);
        assert!(verdict == Verdict::Fail && told.contains(r#"because of B{severity="page"}"#), "{told}");
        let (verdict, told) = why(&[fate(vec![Reason::Silenced { by: "ann (“x”)".into() }])], &[]);
        assert!(verdict == Verdict::NoData && told.contains("ann"), "{told}");
        let (verdict, told) = why(&[fate(vec![Reason::Muted { by: "nights".into() }])], &[]);
        assert!(verdict == Verdict::NoData && told.contains("nights"), "{told}");
        let (verdict, told) = why(&[fate(Vec::new())], &[]);
        assert!(verdict == Verdict::Fail && told.contains("routes lead to: nobody"), "{told}");
        // Its severity was dropped on the way.
        let (verdict, told) = why(&[], &[notification("firing", 110, 111)]);
        assert!(verdict == Verdict::NoData && told.contains("One came as {}"), "{told}");
        let truncated = Notification { truncated: 7, alerts: Vec::new(), ..notification("firing", 110, 111) };
        let (verdict, told) = why(&[], &[truncated]);
        assert!(verdict == Verdict::NoData && told.contains("left 7 alerts out"), "{told}");
        let (verdict, told) = why(&[], &[]);
        assert!(verdict == Verdict::Fail && told.contains("was not seen to have it"), "{told}");
    }

    #[test]
    fn a_group_waits_as_long_as_its_route_says_or_as_usual() {
        assert_eq!(longest_wait("route:\n  group_wait: 1s\n  group_interval: 2s\n"), 2.0);
        assert_eq!(longest_wait("route:\n  group_wait: 1s\n  routes:\n  - group_interval: 1m\n"), 60.0);
        assert_eq!(longest_wait("route:\n  receiver: x\n"), 300.0);
    }
}
