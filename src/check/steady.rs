//! A stack's steady state: what must hold before `up` is finished, and before anything is put on it.

use std::time::Duration;

use super::wait::pause;
use super::{Group, Kind, Outcome, Subject, Verdict, alert, missing, promql, series, targets};
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
            while let Err(Unsteady { why, unseen }) = self.interrupt.or(self.look(check, &prometheus)).await?
            {
                if waiting.is_over() {
                    let next = match unseen {
                        Some(subject) => format!("`{}` names the first broken link", subject.command()),
                        None => "sre status tells how its parts are".into(),
                    };
                    return Err(Error::target(format!("{} is up, but not steady", self.stack.name))
                        .because_of(format!("{}: {why}", check.in_words()))
                        .hint(format!("{next}; `steady` in the stack file says what must hold")));
                }
                waiting.tell(&format!("{}: {why}", check.in_words()));
                pause(self.interrupt, LOOK_EVERY).await?;
            }
        }
        Ok(())
    }

    /// Whether it holds now; else why not.
    async fn look(&self, check: &Check, prometheus: &Prometheus) -> Result<(), Unsteady> {
        let unseen = |error: Error| {
            let outcome = Outcome::no_data(Kind::Series, Group::Metrics, "");
            Unsteady { why: error.to_string(), unseen: Subject::of(check, &outcome, self.stack) }
        };
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
                let firing = alert::already_firing(prometheus, &rules).await.map_err(unseen)?;
                return match (firing.alerts.as_slice(), firing.unevaluated.first()) {
                    ([], None) => Ok(()),
                    ([], Some(rule)) => Err(Unsteady {
                        why: format!("{rule} was not evaluated yet"),
                        unseen: Some(Subject::Alert(rule.clone())),
                    }),
                    _ => Err(Unsteady { why: format!("{} fires", firing.in_words()), unseen: None }),
                };
            }
            // They need a load; the stack file is refused for them.
            Check::Reconcile(_) | Check::Alert(_) | Check::Detected(_) | Check::Logs(_) => return Ok(()),
        };
        let outcome = outcome.map_err(unseen)?;
        if outcome.verdict == Verdict::Pass {
            return Ok(());
        }
        let subject = Subject::of(check, &outcome, self.stack).filter(|_| outcome.verdict == Verdict::NoData);
        let why = [outcome.message].into_iter().chain(outcome.notes).collect::<Vec<_>>().join(". ");
        Err(Unsteady { why, unseen: subject })
    }
}

/// Why it does not hold, and where it could not be seen, what it is about.
struct Unsteady {
    why: String,
    unseen: Option<Subject>,
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

#[cfg(test)]
mod tests {
    use axum::Json;
    use serde_json::{Value, json};

    use super::*;
    use crate::exit::Exit;

    /// What is said of these checks by a Prometheus whose expressions all have these results.
    async fn told(steady: Value, result: Value) -> Error {
        let answer = json!({"status": "success", "data": {"resultType": "vector", "result": result}});
        let router = axum::Router::new().fallback(move || async move { Json(answer) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut stack = crate::catalog::stack("users-api", &[]).expect("it is embedded").stack;
        stack.steady = serde_json::from_value(steady).expect("checks");
        let endpoint = serde_json::from_value(json!({"url": url})).expect("an endpoint");
        let steady = Steady {
            stack: &stack,
            rules: &[],
            endpoints: &Endpoints { prometheus: Some(endpoint), ..Endpoints::default() },
            terminal: &Terminal::silent(true),
            interrupt: &Interrupt::default(),
        };
        steady.wait(Duration::ZERO).await.expect_err("it is not steady")
    }

    #[tokio::test]
    async fn what_cannot_be_seen_names_the_command_that_walks_to_it() {
        for (check, command) in [
            (json!({"series": {"series": "requests_total", "wait": "0s"}}), "sre why metric requests_total"),
            (json!({"promql": {"expr": "sum(up)", "is": "> 1", "wait": "0s"}}), "sre why metric up"),
        ] {
            let error = told(json!([check]), json!([])).await;
            assert_eq!(error.exit(), Exit::Target);
            assert!(
                error.to_string().contains(&format!("`{command}` names the first broken link")),
                "{error}"
            );
        }
        // What is seen, and is wrong, has no broken link.
        let check = json!({"promql": {"expr": "sum(up)", "is": "> 1", "wait": "0s"}});
        let error = told(json!([check]), json!([{"metric": {}, "value": [1, "1"]}])).await;
        assert!(
            !error.to_string().contains("sre why") && error.to_string().contains("sre status"),
            "{error}"
        );
    }
}
