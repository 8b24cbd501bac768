//! What fires already, before anything is put on the system.

use super::episode;
use super::rule::display;
use super::verdict::MOST_TOLD;
use crate::error::Result;
use crate::figures::count;
use crate::observe::{Labels, Prometheus, RuleState};

/// What the stack's rules tell now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Firing {
    /// The alerts that fire: all their labels.
    pub alerts: Vec<Labels>,
    /// Rules that were not evaluated yet: what they would tell is not known.
    pub unevaluated: Vec<String>,
}

impl Firing {
    /// `A{severity="page"}, B{}`: so many that a line has room for them.
    pub fn in_words(&self) -> String {
        let name = |labels: &Labels| labels.get("alertname").cloned().unwrap_or_default();
        let told = self.alerts.iter().take(MOST_TOLD);
        let mut told: Vec<String> =
            told.map(|labels| format!("{}{}", name(labels), episode::display(labels))).collect();
        if self.alerts.len() > MOST_TOLD {
            told.push(format!("and {} more", count((self.alerts.len() - MOST_TOLD) as u64)));
        }
        told.join(", ")
    }
}

/// Alerts of these rules that fire now, by the rules themselves: a Prometheus that was killed gives its last samples for
/// minutes.
///
/// # Errors
/// No data (exit 3) where Prometheus does not answer.
pub async fn already_firing(prometheus: &Prometheus, rules: &[String]) -> Result<Firing> {
    let mut firing = Firing::default();
    for rule in prometheus.rules().await?.into_iter().filter(|rule| rules.contains(&rule.name)) {
        if rule.health == "unknown" {
            firing.unevaluated.push(display(&rule));
        }
        let fires = rule.alerts.into_iter().filter(|alert| alert.state == RuleState::Firing);
        firing.alerts.extend(fires.map(|alert| alert.labels));
    }
    Ok(firing)
}
