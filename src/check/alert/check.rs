//! Waits until an alert has fired and resolved, and judges when.

use super::episode::Known;
use super::look::look;
use super::verdict::{Seen, fired, no_data, resolved};
use super::{fate, notification};
use crate::check::Outcome;
use crate::check::context::CheckContext;
use crate::check::wait::pause;
use crate::error::Result;
use crate::figures::duration;
use crate::scenario::AlertCheck;

/// The alert fired, resolved, and was notified: an outcome each.
///
/// # Errors
/// Interrupted (130, 143). Whatever Prometheus cannot tell is a verdict, not an error.
pub async fn check(context: &CheckContext<'_>, asked: &AlertCheck) -> Result<Vec<Outcome>> {
    let mut stopwatch = context.patience(asked.fires.get() + asked.resolves.get());
    let seen = loop {
        let seen = match context.prometheus() {
            Ok(prometheus) => look(context, prometheus, asked).await,
            Err(error) => return Ok(no_data(asked, &error.to_string())),
        };
        let message = match seen {
            Ok(seen) if seen.settled() => break seen,
            Ok(seen) => waiting(asked, &seen),
            Err(error) if stopwatch.gives_up(&error) => return Ok(no_data(asked, &error.to_string())),
            Err(error) => format!("waiting for Prometheus: {}", error.what()),
        };
        context.waiting(&asked.name, &message)?;
        if asked.notified {
            fate::ask(context).await?;
        }
        pause(context.interrupt, stopwatch.next()).await?;
    };
    if let Some(reason) = &seen.blind {
        return Ok(no_data(asked, reason));
    }
    let mut outcomes = vec![fired(asked, &seen), resolved(asked, &seen)];
    outcomes.extend(notification::check(context, asked, &seen).await?);
    Ok(outcomes)
}

fn waiting(asked: &AlertCheck, seen: &Seen) -> String {
    let left = |by: f64| duration((by - seen.now).max(0.0));
    let (expectation, episode) = (&seen.expectation, &seen.episode);
    match (episode.fired, episode.resolved) {
        (Known::NotYet, _) => {
            format!("waiting for {} to fire ({} left)", asked.name, left(expectation.fires_by))
        }
        (_, Known::NotYet) => {
            format!("waiting for {} to resolve ({} left)", asked.name, left(expectation.resolves_by))
        }
        _ => format!("waiting for the rule {} to be evaluated", asked.name),
    }
}
