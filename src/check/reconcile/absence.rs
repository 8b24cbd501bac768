//! Why Prometheus has no series of the request counter: under which other name or job it has them.

use crate::observe::{Prometheus, QueryResult, matcher};
use crate::stack::Counter;

/// What there is instead, as a sentence without its full stop; `None` where nothing alike is there, or Prometheus does not
/// tell.
pub(super) async fn explain(
    prometheus: &Prometheus,
    counter: &Counter,
    from: f64,
    to: f64,
) -> Option<String> {
    let metric = &counter.metric;
    let selector = format!("{{{}}}", matcher("__name__", "=", metric));
    let jobs = prometheus.label_values("job", &selector, from, to).await.unwrap_or_default();
    if let Some(job) = &counter.job
        && !jobs.is_empty()
        && !jobs.contains(job)
    {
        return Some(format!("it has series of {metric} for the job {}, none for {job}", jobs.join(", ")));
    }
    for name in other_names(metric) {
        let selector = format!("{{{}}}", matcher("__name__", "=", &name));
        if let Ok(QueryResult::Vector(found)) = prometheus.query(&selector, Some(to)).await
            && !found.is_empty()
        {
            let why = match metric.strip_suffix("_count") {
                Some(stem) if stem == name => {
                    ", a native histogram: `always_scrape_classic_histograms: true` keeps the classic series"
                }
                _ => "",
            };
            return Some(format!("it has series of {name}{why}"));
        }
    }
    None
}

/// Names under which client libraries and scrapes may have it.
fn other_names(metric: &str) -> Vec<String> {
    let mut names = Vec::new();
    match metric.strip_suffix("_total") {
        Some(stem) => names.push(stem.to_owned()),
        None => names.push(format!("{metric}_total")),
    }
    names.push(format!("{metric}_total"));
    names.extend(metric.strip_suffix("_count").map(str::to_owned));
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_looked_for_with_and_without_its_suffix_and_as_a_native_histogram() {
        assert_eq!(other_names("requests_total"), ["requests", "requests_total_total"]);
        assert_eq!(other_names("requests"), ["requests_total"]);
        assert_eq!(other_names("seconds_count"), ["seconds_count_total", "seconds"]);
    }
}
