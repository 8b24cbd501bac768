//! A notification that is looked for: whether it arrived, and if not, why. Pure.

use super::episode::{self, Expectation};
use super::fate::{Fate, Reason};
use crate::check::Verdict;
use crate::error::Error;
use crate::figures::count;
use crate::observe::{Labels, Notification, NotifiedAlert, Series};
use crate::scenario::AlertCheck;

/// What a notification has to tell.
pub(super) struct Told<'a> {
    pub name: &'a str,
    pub status: &'a str,
    pub since: f64,
    pub event: &'a str,
}

/// What the receiver has at one look, on Prometheus' clock.
pub(super) struct Looked {
    pub notifications: Vec<Notification>,
    /// By how much the receiver's clock is ahead.
    pub ahead: f64,
    pub now: f64,
}

/// The notification that is looked for.
pub(super) struct Sought<'a> {
    pub asked: &'a AlertCheck,
    pub expectation: &'a Expectation,
    pub told: &'a Told<'a>,
    pub horizon: f64,
    pub interval: f64,
}

/// Why a notification did not come.
pub(super) struct Why {
    pub verdict: Verdict,
    pub notes: Vec<String>,
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
    pub fn arrival(&self, looked: &Looked) -> Option<f64> {
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
    pub fn why(&self, looked: &Looked, fates: &[Fate], known: &[Series], untold: Option<&Error>) -> Why {
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
        let before = fates.iter().find_map(|fate| fate.earlier_silence.as_ref());
        if let Some(until) = before.filter(|_| reasons.is_empty() && self.told.status == "firing") {
            why.verdict = Verdict::NoData;
            why.notes.push(format!(
                "A silence in Alertmanager matched it until {until} (`repeat_interval`). What was notified before a silence and \
                 ended within it is not notified again sooner."
            ));
        }
        match untold {
            _ if !fates.is_empty() || why.verdict != Verdict::Fail => {}
            None => why.notes.push("Alertmanager was not seen to have it.".into()),
            Some(error) => {
                why.verdict = Verdict::NoData;
                why.notes.push(format!("Whether Alertmanager silences it is not known: {error}"));
            }
        }
        why
    }

    /// The labels of one that began to fire at the same time and is no other alert that is known.
    fn relabelled(&self, looked: &Looked, fates: &[Fate], known: &[Series]) -> Option<Labels> {
        let own = |labels: &Labels| {
            let all = |series: &Series| {
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

pub(super) fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
            earlier_silence: None,
        };
        let told_of =
            |status: &str, fates: &[Fate], notifications: &[Notification], untold: Option<&Error>| {
                sought(&[("severity", "ticket")], status, 110.0, 390.0, |sought| {
                    let why = sought.why(&looked(notifications), fates, &[], untold);
                    (why.verdict, why.notes.join(" "))
                })
            };
        let why =
            |fates: &[Fate], notifications: &[Notification]| told_of("firing", fates, notifications, None);
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
        let refused = Error::no_data("Alertmanager did not give what was asked");
        let (verdict, told) = told_of("firing", &[], &[], Some(&refused));
        assert!(verdict == Verdict::NoData && told.contains("is not known: Alertmanager did not"), "{told}");
        let (verdict, told) = told_of("firing", &[fate(Vec::new())], &[], Some(&refused));
        assert!(verdict == Verdict::Fail && told.contains("routes lead to"), "{told}");
        let after = Fate { earlier_silence: Some("noon".into()), ..fate(Vec::new()) };
        let (verdict, told) = told_of("firing", std::slice::from_ref(&after), &[], None);
        assert!(verdict == Verdict::NoData && told.contains("`repeat_interval`"), "{told}");
        let (verdict, told) = told_of("resolved", &[after], &[], None);
        assert!(verdict == Verdict::Fail && !told.contains("`repeat_interval`"), "{told}");
    }
}
