//! Why a notification does not arrive: the alert's chain, then route, group, delivery, receiver.

use serde_json::Value;

use super::chain::{Walk, reason};
use super::exposition::{self, Exposed};
use super::look::{self, Reach, list, reach, reached, some};
use super::name::Name;
use super::{Place, alert};
use crate::check::alert::{Fate, longest_wait};
use crate::error::{Error, Result};
use crate::figures::{ago, count, duration};
use crate::observe::{Notification, Receiver};

/// What is known of the way from Alertmanager to the receiver.
pub struct Facts {
    /// What was asked about.
    pub name: Name,
    /// The alert's fates in Alertmanager.
    pub fates: Vec<Fate>,
    /// Alertmanager's configuration, as text and as data.
    pub config: Result<(String, Value)>,
    /// Alertmanager's own page: its counters of requests that failed.
    pub own: Result<Vec<Exposed>>,
    /// Whether the receiver answers.
    pub reach: Reach,
    /// What brings it back.
    pub mend: String,
    /// What it has.
    pub notifications: Result<Vec<Notification>>,
    /// Prometheus' time.
    pub now: f64,
}

/// Walks from the rule to the receiver.
pub async fn walk(place: &Place<'_>, name: &str, walk: &mut Walk) -> Result<()> {
    let Some(held) = alert::walk(place, name, walk).await? else { return Ok(()) };
    let config = held.alertmanager.config().await;
    let config = config.and_then(|text| look::read_config(&text).map(|data| (text, data)));
    let (reach, notifications) = match &place.lab.endpoints.receiver {
        None => (look::without(place, "receiver"), Err(Error::no_data("this lab names no receiver"))),
        Some(endpoint) => {
            let client = Receiver::new(endpoint)?;
            let notifications = client.notifications().await;
            let asked = notifications.as_ref().map(|_| String::new()).map_err(Clone::clone);
            (reach(asked, client.answers()).await, notifications)
        }
    };
    let facts = Facts {
        name: Name::read(name)?,
        fates: held.fates,
        config,
        own: held.alertmanager.own_page().await.map(|page| exposition::read(&page)),
        reach,
        mend: look::mend(place, "receiver"),
        notifications,
        now: held.now,
    };
    judge(&facts, walk);
    Ok(())
}

/// The links between Alertmanager and the receiver. Pure.
pub fn judge(facts: &Facts, walk: &mut Walk) {
    const ROUTED: &str = "its route leads to a receiver that tells";
    const ARRIVED: &str = "the notification arrived";
    let Some(fate) = facts.fates.iter().find(|fate| facts.name.fits(&fate.labels)) else { return };
    let receivers = some(fate.receivers.iter().map(String::as_str));
    let arrival = arrival(facts, fate);
    if let Err(error) = &facts.config {
        walk.untold(ROUTED, error);
    }
    if let Ok((_, config)) = &facts.config {
        let ways: Vec<&str> = fate.receivers.iter().flat_map(|name| ways(config, name)).collect();
        match ways.as_slice() {
            [] => walk.broken(
                ROUTED,
                format!(
                    "Its routes lead to {receivers}, which tells nobody: the receiver has no integration."
                ),
                "Change the route, or give that receiver a `webhook_configs` (or another way).",
            ),
            ways => walk.ok(ROUTED, format!("{receivers} ({})", some(ways.iter().copied()))),
        }
    }
    if walk.is_over() || !reached(walk, "the receiver answers", &facts.reach, &facts.mend) {
        return;
    }
    let notifications = match &facts.notifications {
        Ok(notifications) => notifications,
        Err(error) => return walk.unknown(ARRIVED, reason(error)),
    };
    if let Some(after) = arrival {
        return walk.ok(ARRIVED, ago(facts.now - after));
    }
    let failed = delivery(facts);
    if let Some((failed, all)) = failed.filter(|(failed, _)| *failed > 0.0) {
        return walk.broken(
            "Alertmanager delivers it",
            format!("{failed} of {all} requests of its webhooks failed since its start, and this one did not arrive."),
            "Its own log names the address and the answer: is it the receiver's, and can it be reached from there?",
        );
    }
    let waits = facts.config.as_ref().map_or(0.0, |(text, _)| longest_wait(text));
    let fires = (facts.now - fate.starts_at).max(0.0);
    if fires < waits {
        return walk.broken(
            "its group was waited for",
            format!(
                "It fires for {}; its group may wait {} before it is told (`group_wait`, `group_interval`).",
                duration(fires),
                duration(waits)
            ),
            format!("Wait {} more, or shorten them in the route.", duration(waits - fires)),
        );
    }
    if let Some(until) = &fate.earlier_silence {
        return walk.broken(
            "Alertmanager did not tell of it already",
            format!("A silence matched it until {until} (`repeat_interval`)."),
            "What was notified before a silence and ended within it is told again only then: shorten `repeat_interval` in its route.",
        );
    }
    let left_out: u64 = notifications.iter().map(|notification| notification.truncated).sum();
    if left_out > 0 {
        return walk
            .unknown(ARRIVED, format!("Notifications left {} alerts out (`max_alerts`).", count(left_out)));
    }
    walk.broken(
        ARRIVED,
        format!("It went to {receivers}, and did not arrive at this receiver, which has {} notifications.", notifications.len()),
        "Does the webhook of that receiver lead to this address (`sre receiver`: …/alerts)? If another one tells of it, that is where it went.",
    );
}

/// When it arrived at the receiver, on Prometheus' clock as far as that is the receiver's.
fn arrival(facts: &Facts, fate: &Fate) -> Option<f64> {
    let seconds = |time: jiff::Timestamp| time.as_millisecond() as f64 / 1000.0;
    let tells = |notification: &&Notification| {
        notification.alerts.iter().any(|alert| {
            alert.status == "firing"
                && alert.labels == fate.labels
                && seconds(alert.starts_at) >= fate.starts_at - 1.0
        })
    };
    facts.notifications.as_ref().ok()?.iter().find(tells).map(|notification| seconds(notification.received))
}

/// The integrations of a receiver: `webhook`.
fn ways<'a>(config: &'a Value, receiver: &str) -> Vec<&'a str> {
    let Some(receiver) = list(config, "receivers").find(|one| one["name"] == receiver) else {
        return Vec::new();
    };
    let there = |value: &Value| value.as_array().is_some_and(|all| !all.is_empty());
    let keys = receiver.as_object().into_iter().flatten().filter(|(_, value)| there(value));
    keys.filter_map(|(key, _)| key.strip_suffix("_configs")).collect()
}

/// How many requests of webhooks failed, and how many there were.
fn delivery(facts: &Facts) -> Option<(f64, f64)> {
    let page = facts.own.as_ref().ok()?;
    let sum = |metric: &str| exposition::sum(page, metric, Some(("integration", "webhook")));
    Some((
        sum("alertmanager_notification_requests_failed_total")?,
        sum("alertmanager_notification_requests_total")?,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::observe::{Labels, NotifiedAlert};
    use crate::why::chain::State;

    fn labels() -> Labels {
        Labels::from([("alertname".into(), "Down".into())])
    }

    fn facts(receiver: &str, arrived: bool) -> Facts {
        let time = |second| jiff::Timestamp::from_second(second).expect("a time");
        let alert = NotifiedAlert { status: "firing".into(), labels: labels(), starts_at: time(900) };
        let notification = Notification { received: time(905), alerts: vec![alert], truncated: 0 };
        let config = json!({"receivers": [{"name": "sre", "webhook_configs": [{"url": "<secret>"}]}, {"name": "nobody"}]});
        Facts {
            name: Name::read("Down").expect("a name"),
            fates: vec![Fate {
                labels: labels(),
                starts_at: 900.0,
                receivers: vec![receiver.into()],
                reasons: Vec::new(),
                earlier_silence: None,
            }],
            config: Ok(("group_wait: 1s\ngroup_interval: 2s\n".into(), config)),
            own: Ok(Vec::new()),
            reach: Reach::Answers(String::new()),
            mend: "sre up".into(),
            notifications: Ok(if arrived { vec![notification] } else { Vec::new() }),
            now: 1000.0,
        }
    }

    #[test]
    fn the_first_broken_link_of_a_notification_is_named() {
        let failing = exposition::read(
            "alertmanager_notification_requests_failed_total{integration=\"webhook\"} 3\n\
             alertmanager_notification_requests_total{integration=\"webhook\"} 5\n",
        );
        let away = Reach::Away(Error::no_data("nobody answers"));
        for (facts, link, state, told) in [
            (facts("sre", true), "the notification arrived", State::Ok, "ago"),
            (
                facts("nobody", false),
                "its route leads to a receiver that tells",
                State::Broken,
                "has no integration",
            ),
            (
                Facts { now: 900.5, ..facts("sre", false) },
                "its group was waited for",
                State::Broken,
                "may wait 2.0 s",
            ),
            (Facts { reach: away, ..facts("sre", false) }, "the receiver answers", State::Broken, "sre up"),
            (
                Facts { reach: Reach::Nowhere, ..facts("sre", false) },
                "the receiver answers",
                State::Unknown,
                "names none",
            ),
            (
                Facts { own: Ok(failing), ..facts("sre", false) },
                "Alertmanager delivers it",
                State::Broken,
                "3 of 5 requests",
            ),
            (facts("sre", false), "the notification arrived", State::Broken, "It went to sre"),
        ] {
            let mut walk = Walk::default();
            judge(&facts, &mut walk);
            let last = walk.chain("", "").links.pop().expect("a link");
            let text = format!("{} {}", last.found, last.hint.unwrap_or_default());
            assert_eq!((last.link.as_str(), last.state), (link, state), "{text}");
            assert!(text.contains(told), "{text}");
        }
    }
}
