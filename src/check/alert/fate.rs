//! What Alertmanager does with an alert: it knows why it does not notify. It forgets an alert as soon as it is over, so
//! it is asked while the alert fires, and what it told is kept with the run.

use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::configuration::longest_repeat;
use super::episode::display;
use super::sought::seconds;
use crate::check::context::CheckContext;
use crate::error::{Error, Result};
use crate::figures::duration;
use crate::observe::{Alertmanager, HeldAlert, Labels};
use crate::run::{EventKind, Events};
use crate::scenario::Scenario;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// More fates of one alert's name are not kept.
const MOST_KEPT: usize = 50;

/// What Alertmanager did with an alert when it was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fate {
    /// The alert's labels there, `alertname` among them.
    pub labels: Labels,
    /// When it began to fire, in seconds since 1970 on Prometheus' clock.
    pub starts_at: f64,
    /// The receivers that its routes lead to.
    pub receivers: Vec<String>,
    /// Why it is not notified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// A silence that matched it and was over before it fired, so lately that what was notified before it is not repeated
    /// yet: until when it was, and who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_silence: Option<String>,
}

/// Why Alertmanager does not notify of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Another alert inhibits it.
    Inhibited {
        /// The other one's labels; none where it was gone.
        by: Labels,
    },
    /// A silence matches it.
    Silenced {
        /// Who made the silence, why, and until when.
        by: String,
    },
    /// Its route is muted for now.
    Muted {
        /// The time interval's name.
        by: String,
    },
}

impl Reason {
    /// As a sentence.
    pub fn in_words(&self) -> String {
        match self {
            Reason::Inhibited { by } if by.is_empty() => "Alertmanager inhibits it.".into(),
            Reason::Inhibited { by } => {
                let name = by.get("alertname").map_or("", String::as_str);
                format!("Alertmanager inhibits it because of {name}{}.", display(by))
            }
            Reason::Silenced { by } => format!("A silence in Alertmanager matches it: {by}."),
            Reason::Muted { by } => format!("Alertmanager mutes its route now: time interval {by}."),
        }
    }
}

/// Asks Alertmanager about alerts, again and again.
pub struct Watch<'a> {
    alertmanager: Alertmanager,
    names: Vec<&'a str>,
}

impl<'a> Watch<'a> {
    /// A watch of the alerts whose notification is asked for; none where there are none, or no Alertmanager.
    pub fn of(scenario: &'a Scenario, endpoints: &crate::target::Endpoints) -> Option<Watch<'a>> {
        let asked = scenario.alert_checks().filter(|asked| asked.notified);
        let names: Vec<&str> = asked.map(|asked| asked.name.as_str()).collect();
        let alertmanager = Alertmanager::new(endpoints.alertmanager.as_ref()?).ok()?;
        (!names.is_empty()).then_some(Watch { alertmanager, names })
    }

    /// A watch of alerts of these names.
    pub fn over(alertmanager: Alertmanager, names: Vec<&'a str>) -> Watch<'a> {
        Watch { alertmanager, names }
    }

    /// Looks until it is dropped. What can't be asked now is asked again.
    pub async fn go_on(&self, events: &Events) {
        let mut known = Vec::new();
        loop {
            for fate in self.look(&known).await.unwrap_or_default() {
                known.push(fate.clone());
                // A log that cannot be written ends the run elsewhere.
                let _ = events.emit(EventKind::AlertmanagerTold(Box::new(fate)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What is new.
    ///
    /// # Errors
    /// No data (exit 3) where Alertmanager does not answer.
    pub async fn look(&self, known: &[Fate]) -> Result<Vec<Fate>> {
        let mut new: Vec<Fate> = Vec::new();
        for name in &self.names {
            for held in self.alertmanager.alerts("alertname", name).await? {
                let of_name = |fate: &&Fate| fate.labels.get("alertname") == held.labels.get("alertname");
                if known.iter().chain(&new).filter(of_name).count() >= MOST_KEPT {
                    break;
                }
                if held.status.state == "unprocessed" {
                    continue;
                }
                let fate = self.fate(held, known.iter().chain(&new)).await;
                if !known.contains(&fate) && !new.contains(&fate) {
                    new.push(fate);
                }
            }
        }
        Ok(new)
    }

    async fn fate(&self, held: HeldAlert, mut known: impl Iterator<Item = &Fate>) -> Fate {
        let (status, starts_at) = (held.status, seconds(held.starts_at));
        let earlier_silence =
            match known.find(|fate| fate.labels == held.labels && fate.starts_at == starts_at) {
                Some(known) => known.earlier_silence.clone(),
                None => self.earlier_silence(&held.labels, starts_at).await,
            };
        let mut reasons = Vec::new();
        if !status.inhibited_by.is_empty() {
            let all = self.alertmanager.all_alerts().await.unwrap_or_default();
            let by = all.into_iter().find(|other| status.inhibited_by.contains(&other.fingerprint));
            reasons.push(Reason::Inhibited { by: by.map(|other| other.labels).unwrap_or_default() });
        }
        for id in &status.silenced_by {
            let by = match self.alertmanager.silence(id).await {
                Ok(silence) => {
                    format!("{}, until {:.0}", silence.by(), silence.ends_at)
                }
                Err(_) => id.clone(),
            };
            reasons.push(Reason::Silenced { by });
        }
        reasons.extend(status.muted_by.into_iter().map(|by| Reason::Muted { by }));
        Fate {
            labels: held.labels,
            starts_at,
            receivers: held.receivers.into_iter().map(|receiver| receiver.name).collect(),
            reasons,
            earlier_silence,
        }
    }

    /// The last silence that matched an alert and was over before it fired, no longer before than Alertmanager waits until
    /// it repeats itself.
    async fn earlier_silence(&self, labels: &Labels, starts_at: f64) -> Option<String> {
        let silences = self.alertmanager.silences().await.ok()?;
        let over = silences.into_iter().filter(|silence| seconds(silence.ends_at) <= starts_at);
        let last = over.filter(|silence| silence.matches(labels)).max_by_key(|silence| silence.ends_at)?;
        let repeats = longest_repeat(&self.alertmanager.config().await.ok()?);
        let lately = starts_at - seconds(last.ends_at) < repeats;
        lately.then(|| {
            format!(
                "{:.0}, made by {}; it repeats itself after {}",
                last.ends_at,
                last.by(),
                duration(repeats)
            )
        })
    }
}

/// Asks once more; what is new is kept with the run. What comes back is why an Alertmanager that is there told nothing.
///
/// # Errors
/// Where the event log cannot be written.
pub async fn ask(context: &CheckContext<'_>) -> Result<Option<Error>> {
    let Some(watch) = Watch::of(context.scenario, context.endpoints) else { return Ok(None) };
    let new = match watch.look(&known(context)).await {
        Ok(new) => new,
        Err(_) if watch.alertmanager.is_gone().await => return Ok(None),
        Err(error) => return Ok(Some(error)),
    };
    for fate in new {
        context.fates.lock().unwrap_or_else(PoisonError::into_inner).push(fate.clone());
        context.events.emit(EventKind::AlertmanagerTold(Box::new(fate)))?;
    }
    Ok(None)
}

/// All that Alertmanager has told in this run.
pub fn known(context: &CheckContext<'_>) -> Vec<Fate> {
    context.fates.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
