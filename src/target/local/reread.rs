//! Has Prometheus read its configuration again, by a signal. It could be asked by HTTP, but what lets `sre` ask lets any
//! web page: one that is open in a browser here may post to any port of this machine, and `/-/quit` is one of the
//! same kind.

use std::time::{Duration, Instant};

use url::Url;

use super::health::{Health, Reload};
use super::process;
use super::tail::last_lines;
use crate::error::Result;
use crate::target::Process;

/// How long it may take to read it.
const BOUND: Duration = Duration::from_secs(10);
/// How often is looked whether it did.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many last lines of its log tell why it refuses.
const LAST_LINES: usize = 3;

/// What a page of metrics tells of the last time that a configuration was read.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Last {
    /// Whether it was taken.
    taken: bool,
    /// When one was last taken, in seconds since 1970.
    at: f64,
}

/// Tells a process to read its configuration again, and waits until it did. `metrics` is its page of metrics.
///
/// # Errors
/// The target (exit 6) where it cannot be signalled.
pub async fn by_signal(health: &Health, process: &Process, metrics: &Url) -> Result<Reload> {
    let last = async || health.page(metrics).await.ok().as_deref().and_then(last);
    let Some(before) = last().await else { return Ok(Reload::NoAnswer) };
    process::reread(process)?;
    let refused = || Ok(Reload::Refused(last_lines(&process.log, LAST_LINES).join("\n")));
    let told = Instant::now();
    while told.elapsed() < BOUND {
        match last().await {
            Some(now) if now.taken && now.at != before.at => return Ok(Reload::Done),
            Some(now) if !now.taken && before.taken => return refused(),
            None if !process::is_alive(process) => return Ok(Reload::NoAnswer),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    // Nothing shows that what was refused before is refused again.
    if before.taken { Ok(Reload::NoAnswer) } else { refused() }
}

fn last(page: &str) -> Option<Last> {
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<f64>().ok()
    };
    Some(Last {
        taken: value("prometheus_config_last_reload_successful")? > 0.0,
        at: value("prometheus_config_last_reload_success_timestamp_seconds")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_time_is_read_from_the_page() {
        let page = "# TYPE prometheus_config_last_reload_success_timestamp_seconds gauge\n\
                    prometheus_config_last_reload_success_timestamp_seconds 1.7956e+09\n\
                    prometheus_config_last_reload_successful 0\n";
        assert_eq!(last(page), Some(Last { taken: false, at: 1.7956e9 }));
        assert_eq!(last("prometheus_config_last_reload_successful 1\n"), None);
        assert_eq!(last("<html>"), None);
    }
}
