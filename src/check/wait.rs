//! Waits of checks: bounded, and ended by Ctrl-C.

use std::time::Duration;

use super::context::CheckContext;
use super::{Outcome, Verdict};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// A pause that Ctrl-C ends.
///
/// # Errors
/// Interrupted (130, 143).
pub async fn pause(interrupt: &Interrupt, time: Duration) -> Result<()> {
    interrupt.or(tokio::time::sleep(time)).await
}

/// Looks again and again until the outcome is a pass, or until the bound ends and the last outcome stands. What could
/// not be seen is the outcome that `blind` makes of it; it ends the wait where looking again would give the same.
///
/// # Errors
/// Interrupted (130, 143).
pub async fn until_pass<F, L>(
    context: &CheckContext<'_>,
    bound: Duration,
    mut look: F,
    blind: impl Fn(&Error) -> Outcome,
) -> Result<Outcome>
where
    F: FnMut() -> L,
    L: Future<Output = Result<Outcome>>,
{
    let mut stopwatch = context.patience(Duration::ZERO);
    let bound = if context.is_in_vain() { Duration::ZERO } else { bound };
    let started = std::time::Instant::now();
    loop {
        let (outcome, lasting) = match context.interrupt.or(look()).await? {
            Ok(outcome) => (outcome, false),
            Err(error) => (blind(&error), error.is_lasting()),
        };
        if outcome.verdict == Verdict::Pass || lasting || started.elapsed() >= bound {
            return Ok(outcome);
        }
        let left = bound.saturating_sub(started.elapsed()).as_secs_f64();
        context.waiting(&outcome.name, &format!("{} ({left:.0} s left)", outcome.message))?;
        pause(context.interrupt, stopwatch.next()).await?;
    }
}

/// How long a scrape may take where nothing else is configured, in seconds; some stand-ins for Prometheus do not tell it.
pub const USUAL_TIMEOUT: f64 = 10.0;

/// The seconds of a duration as Prometheus writes it: `1m30s`, `500ms`; `None` for anything else.
pub fn seconds_of(text: &str) -> Option<f64> {
    humantime::parse_duration(text).ok().map(|duration| duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_durations_are_read() {
        assert_eq!(seconds_of("1m30s"), Some(90.0));
        assert_eq!(seconds_of("500ms"), Some(0.5));
        assert_eq!(seconds_of("soon"), None);
    }
}
