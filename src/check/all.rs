//! All checks of a scenario, one after another: each bound counts from the load's end, not from the last check.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::context::CheckContext;
use super::{
    Group, Kind, Outcome, Subject, Verdict, alert, detected, logs, promql, reconcile, series, targets,
};
use crate::error::Result;
use crate::run::EventKind;
use crate::scenario::{Check, NoAlertsCheck};

/// Runs the scenario's checks, telling of each as it is judged.
///
/// # Errors
/// Interrupted (130, 143), or an event log that cannot be written.
pub async fn verify(context: &CheckContext<'_>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    if context.scenario.checks.is_empty() {
        tell(context, &mut outcomes, vec![nothing_asked()], Instant::now())?;
    }
    for check in &context.scenario.checks {
        context.events.emit(EventKind::CheckStarted { name: name(check) })?;
        let started = Instant::now();
        let found = match check {
            Check::Targets(asked) => vec![targets::check(context, asked).await?],
            Check::Series(asked) => vec![series::check(context, asked).await?],
            Check::Promql(asked) => vec![promql::check(context, asked).await?],
            Check::Reconcile(asked) => reconcile::check(context, asked).await?,
            Check::Alert(asked) => alert::check(context, asked).await?,
            Check::Detected(asked) => detected::check(context, asked).await?,
            Check::Logs(asked) => vec![logs::check(context, asked).await?],
            // Judged once, after every alert that may fire had its time.
            Check::NoAlerts(_) => Vec::new(),
        };
        if found.iter().any(|outcome| outcome.verdict == Verdict::NoData) {
            note_silence(context).await;
        }
        let found = found.into_iter().map(|outcome| outcome.with_command(check, context.stack)).collect();
        tell(context, &mut outcomes, found, started)?;
    }
    if let Some(except) = exceptions(&context.scenario.checks) {
        let started = Instant::now();
        let mut found = alert::no_others(context, &except).await?;
        if let Some(rule) = context.rules.iter().find(|rule| !except.contains(rule)) {
            found = found.with_subject(&Subject::Alert(rule.clone()));
        }
        let found = vec![found];
        tell(context, &mut outcomes, found, started)?;
    }
    Ok(outcomes)
}

/// A Prometheus that did not come back while one check waited is not waited for by the next ones.
async fn note_silence(context: &CheckContext<'_>) {
    let silent = match context.prometheus() {
        Ok(prometheus) => prometheus.time().await.is_err(),
        Err(_) => true,
    };
    context.in_vain.fetch_or(silent, Ordering::Relaxed);
}

/// A scenario without checks proves nothing of monitoring.
fn nothing_asked() -> Outcome {
    let mut outcome =
        Outcome::new(Kind::Reconcile, Group::Counts, reconcile::NAME, Verdict::NoData, "not asked")
            .noted("The scenario has no checks: nothing was held against monitoring.");
    outcome.hint = Some("Leave the key `checks` out to have `targets` and `reconcile`.".into());
    outcome
}

/// Notes what a check took, and tells of its outcomes.
fn tell(
    context: &CheckContext<'_>,
    outcomes: &mut Vec<Outcome>,
    found: Vec<Outcome>,
    started: Instant,
) -> Result<()> {
    let mut remarks = context.prometheus().map(|prometheus| prometheus.take_infos()).unwrap_or_default();
    for mut outcome in found {
        outcome.notes.append(&mut remarks);
        outcome.seconds = started.elapsed().as_secs_f64();
        context.events.emit(EventKind::CheckFinished(Box::new(outcome.clone())))?;
        outcomes.push(outcome);
    }
    Ok(())
}

fn name(check: &Check) -> String {
    match check {
        Check::Targets(_) => targets::NAME.into(),
        Check::Series(asked) => asked.series.clone(),
        Check::Promql(asked) => asked.name.clone().unwrap_or_else(|| asked.expr.clone()),
        Check::Reconcile(_) => reconcile::NAME.into(),
        Check::Alert(asked) => asked.name.clone(),
        Check::Detected(asked) => asked.sentence(),
        Check::NoAlerts(_) => "no alert fired".into(),
        Check::Logs(asked) => logs::name(asked),
    }
}

/// Alerts that may fire, where the scenario asks about alerts at all: those that it names, and what may come along.
fn exceptions(checks: &[Check]) -> Option<Vec<String>> {
    let mut asked = false;
    let mut except = Vec::new();
    for check in checks {
        match check {
            Check::Alert(alert) => {
                asked = true;
                except.push(alert.name.clone());
                except.extend(alert.along.iter().cloned());
            }
            Check::NoAlerts(NoAlertsCheck { except: more }) => {
                asked = true;
                except.extend(more.iter().cloned());
            }
            _ => {}
        }
    }
    asked.then_some(except)
}
