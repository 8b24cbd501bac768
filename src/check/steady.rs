//! A stack's steady state: what must hold before `up` is finished, and before anything is put on it.

use std::time::Duration;

use super::wait::pause;
use super::{Outcome, Verdict, alert, missing, promql, series, targets};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::observe::Prometheus;
use crate::scenario::Check;
use crate::stack::Stack;
use crate::target::{Endpoints, Waiting};
use crate::terminal::Terminal;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A stack that is up, and who waits for it.
pub struct Steady<'a> {
    /// The stack, whose key `steady` says what must hold.
    pub stack: &'a Stack,
    /// The names of its alert rules.
    pub rules: &'a [String],
    /// Where it answers.
    pub endpoints: &'a Endpoints,
    /// Where the wait is told of.
    pub terminal: &'a Terminal,
    /// Ctrl-C and SIGTERM.
    pub interrupt: &'a Interrupt,
}

impl Steady<'_> {
    /// Waits until all of it holds: each check for its own `wait`, alerts for `bound`.
    ///
    /// # Errors
    /// The target (exit 6) where one does not hold in time; interrupted (130, 143).
    pub async fn wait(&self, bound: Duration) -> Result<()> {
        for check in &self.stack.steady {
            let endpoint = self.endpoints.prometheus.as_ref().ok_or_else(|| missing("Prometheus"))?;
            let prometheus = Prometheus::new(endpoint)?;
            let mut waiting = Waiting::new(self.terminal, allowed(check, bound));
            while let Err(why) = self.interrupt.or(self.look(check, &prometheus)).await? {
                if waiting.is_over() {
                    return Err(Error::target(format!("{} is up, but not steady", self.stack.name))
                        .because_of(format!("{}: {why}", check.in_words()))
                        .hint("sre status tells how its parts are; `steady` in the stack file says what must hold"));
                }
                waiting.tell(&format!("{}: {why}", check.in_words()));
                pause(self.interrupt, LOOK_EVERY).await?;
            }
        }
        Ok(())
    }

    /// Whether it holds now; else why not.
    async fn look(&self, check: &Check, prometheus: &Prometheus) -> Result<(), String> {
        let outcome = match check {
            Check::Targets(asked) => {
                let seen = prometheus.targets_with(&asked.jobs).await;
                seen.map(|seen| targets::judge(&seen, asked, &self.endpoints.scraped()))
            }
            Check::Series(asked) => {
                prometheus.query(&asked.series, None).await.map(|result| series::judge(asked, &result))
            }
            Check::Promql(asked) => {
                prometheus.query(&asked.expr, None).await.map(|result| promql::judge(asked, &result))
            }
            Check::NoAlerts(asked) => {
                let rules: Vec<String> =
                    self.rules.iter().filter(|rule| !asked.except.contains(rule)).cloned().collect();
                let firing = alert::already_firing(prometheus, &rules).await.map_err(|e| e.to_string())?;
                return match (firing.alerts.as_slice(), firing.unevaluated.first()) {
                    ([], None) => Ok(()),
                    ([], Some(rule)) => Err(format!("{rule} was not evaluated yet")),
                    _ => Err(format!("{} fires", firing.in_words())),
                };
            }
            // They need a load; the stack file is refused for them.
            Check::Reconcile(_) | Check::Alert(_) | Check::Detected(_) | Check::Logs(_) => return Ok(()),
        };
        outcome.map_err(|error| error.to_string()).and_then(held)
    }
}

fn held(outcome: Outcome) -> Result<(), String> {
    match outcome.verdict {
        Verdict::Pass => Ok(()),
        _ => Err([outcome.message].into_iter().chain(outcome.notes).collect::<Vec<_>>().join(". ")),
    }
}

fn allowed(check: &Check, bound: Duration) -> Duration {
    match check {
        Check::Targets(asked) => asked.wait.get(),
        Check::Series(asked) => asked.wait.get(),
        Check::Promql(asked) => asked.wait.get(),
        Check::Reconcile(_) | Check::Alert(_) | Check::NoAlerts(_) | Check::Detected(_) | Check::Logs(_) => {
            bound
        }
    }
}
