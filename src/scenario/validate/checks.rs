//! Checks: PromQL that parses, waits that end, and nothing asked for that excludes itself.

use super::promql::{Flaw, expression, is_label_name, selector};
use crate::config::{Path, Problem};
use crate::scenario::{Check, Duration};

/// Longer than anybody waits before a screen.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn checks(checks: &[Check], path: &Path, problems: &mut Vec<Problem>) {
    for (i, check) in checks.iter().enumerate() {
        let item = path.index(i);
        match check {
            Check::Targets(targets) => wait("wait", targets.wait, &item.key("targets"), problems),
            Check::Series(series) => {
                let path = item.key("series");
                wait("wait", series.wait, &path, problems);
                if let Err(why) = selector(&series.series) {
                    problems.push(Problem::error(&path.key("series"), why));
                }
                for (i, label) in series.labels.iter().enumerate().filter(|(_, label)| !is_label_name(label))
                {
                    let message = format!("`{label}` is not the name of a label");
                    problems.push(Problem::error(&path.key("labels").index(i), message));
                }
            }
            Check::Promql(promql) => {
                let path = item.key("promql");
                wait("wait", promql.wait, &path, problems);
                self::promql(&promql.expr, &path.key("expr"), problems);
            }
            Check::Reconcile(reconcile) => {
                let path = item.key("reconcile");
                wait("wait", reconcile.wait, &path, problems);
                if checks[..i].iter().any(|other| matches!(other, Check::Reconcile(_))) {
                    problems
                        .push(Problem::key_error(&path, "`reconcile` compares everything: once is enough"));
                }
            }
            Check::Alert(alert) => {
                let path = item.key("alert");
                wait("fires", alert.fires, &path, problems);
                wait("resolves", alert.resolves, &path, problems);
                wait("delivered", alert.delivered, &path, problems);
                for label in alert.labels.keys().filter(|label| !is_label_name(label)) {
                    let message = format!("`{label}` is not the name of a label");
                    problems.push(Problem::key_error(&path.key("labels").key(label), message));
                }
            }
            Check::Detected(detected) => {
                let path = item.key("detected");
                wait("within", detected.within, &path, problems);
                wait("recovers", detected.recovers, &path, problems);
                if let Some(expr) = &detected.expr {
                    self::promql(expr, &path.key("expr"), problems);
                } else if detected.is.is_some() {
                    let problem = Problem::key_error(
                        &path.key("is"),
                        "`is` compares the value of `expr`, which is not there",
                    );
                    problems.push(problem.help("leave `is` out, or name the expression"));
                }
            }
            Check::Logs(logs) => wait("wait", logs.wait, &item.key("logs"), problems),
            Check::NoAlerts(none) => {
                for other in checks {
                    if let Check::Alert(alert) = other
                        && !none.except.contains(&alert.name)
                    {
                        let message = format!("{} must fire, so `no-alerts` can never hold", alert.name);
                        let help = "the check `alert` already holds that no other alert fires: leave `no-alerts` out";
                        problems.push(Problem::key_error(&item.key("no-alerts"), message).help(help));
                    }
                }
            }
        }
    }
}

fn promql(expr: &str, path: &Path, problems: &mut Vec<Problem>) {
    match expression(expr) {
        Ok(()) => {}
        Err(Flaw::Wrong(why)) => problems.push(Problem::error(path, why)),
        Err(Flaw::UnknownFunction(why)) => {
            problems.push(Problem::warning(path, why).help("Prometheus has the last word; is it a typo?"));
        }
    }
}

fn wait(key: &str, wait: Duration, path: &Path, problems: &mut Vec<Problem>) {
    if wait == Duration::default() {
        problems.push(Problem::error(&path.key(key), format!("`{key}` must be longer than nothing")));
    } else if wait > MAX_WAIT {
        problems.push(Problem::error(&path.key(key), format!("`{key}` is at most a day (24h)")));
    }
}
