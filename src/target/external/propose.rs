//! Which counter counts the service's requests, and which of its labels hold path, method and status: pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::observe::Labels;

/// A counter that may count the service's requests, and what its labels seem to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The counter's name.
    pub metric: String,
    /// The label that seems to hold the path or route.
    pub path: Option<String>,
    /// The label that seems to hold the method.
    pub method: Option<String>,
    /// The label that seems to hold the status.
    pub status: Option<String>,
    /// Values of the path label that were seen.
    pub paths: Vec<String>,
}

/// Names of labels by what they hold in the common client libraries and semantic conventions, best first.
const PATHS: &[&str] =
    &["path", "route", "endpoint", "http_route", "handler", "uri", "url", "http_target", "url_path", "view"];
const METHODS: &[&str] = &["method", "http_method", "http_request_method", "verb", "request_method"];
const STATUSES: &[&str] = &[
    "status",
    "code",
    "status_code",
    "http_status",
    "http_status_code",
    "http_response_status_code",
    "response_code",
];

/// Every counter among a service's series that may count its requests, best first.
pub fn propose(series: &[Labels]) -> Vec<Proposal> {
    let mut metrics: BTreeMap<&str, Vec<&Labels>> = BTreeMap::new();
    for labels in series {
        if let Some(name) = labels.get("__name__").filter(|name| may_count(name)) {
            metrics.entry(name).or_default().push(labels);
        }
    }
    let mut proposals: Vec<(i32, Proposal)> = metrics
        .into_iter()
        .map(|(name, series)| {
            let proposal = proposal(name, &series);
            (score(&proposal), proposal)
        })
        .filter(|(score, _)| *score > 0)
        .collect();
    proposals.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.metric.cmp(&b.1.metric)));
    proposals.into_iter().map(|(_, proposal)| proposal).collect()
}

/// A counter by its name, or the count of a histogram or summary, which counts as exactly.
fn may_count(name: &str) -> bool {
    name.ends_with("_total") || name.ends_with("_count")
}

fn proposal(metric: &str, series: &[&Labels]) -> Proposal {
    let label = |names: &[&str]| {
        let has =
            |name: &&&str| series.iter().any(|labels| labels.get(**name).is_some_and(|v| !v.is_empty()));
        names.iter().find(has).map(|name| (*name).to_owned())
    };
    let path = label(PATHS);
    let seen: BTreeSet<String> = path
        .as_ref()
        .map(|path| series.iter().filter_map(|labels| labels.get(path).cloned()).collect())
        .unwrap_or_default();
    let paths = seen.into_iter().filter(|value| value.starts_with('/')).collect();
    Proposal { metric: metric.into(), path, method: label(METHODS), status: label(STATUSES), paths }
}

/// How much speaks for a counter; nothing does without a word for requests or a status.
fn score(proposal: &Proposal) -> i32 {
    let name = &proposal.metric;
    let mut score = 0;
    score += 4 * i32::from(name.contains("request"));
    score += 2 * i32::from(name.contains("http"));
    score += 4 * i32::from(proposal.status.is_some());
    if score == 0 {
        return 0;
    }
    score += 2 * i32::from(proposal.method.is_some());
    score += 3 * i32::from(proposal.path.is_some());
    score += 2 * i32::from(name.ends_with("_total"));
    // Prometheus' own scrapes, sizes, errors and clients are counted by names that look alike.
    for other in
        ["promhttp", "error", "exception", "size", "bytes", "client", "in_flight", "failed", "rejected"]
    {
        score -= 5 * i32::from(name.contains(other));
    }
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &[(&str, &[(&str, &str)])]) -> Vec<Labels> {
        text.iter()
            .map(|(name, labels)| {
                let own = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                own.chain([("__name__".to_owned(), (*name).to_owned())]).collect()
            })
            .collect()
    }

    #[test]
    fn the_usual_names_are_found() {
        let proposals = propose(&series(&[
            ("http_requests_total", &[("handler", "/a"), ("method", "get"), ("code", "200")]),
            ("http_request_duration_seconds_count", &[("handler", "/a"), ("method", "get")]),
            ("promhttp_metric_handler_requests_total", &[("code", "200")]),
            ("process_cpu_seconds_total", &[]),
            ("go_gc_duration_seconds_count", &[]),
        ]));
        assert_eq!(
            proposals.iter().map(|p| p.metric.as_str()).collect::<Vec<_>>(),
            [
                "http_requests_total",
                "http_request_duration_seconds_count",
                "promhttp_metric_handler_requests_total"
            ]
        );
        let best = &proposals[0];
        assert_eq!(best.path.as_deref(), Some("handler"));
        assert_eq!(best.method.as_deref(), Some("method"));
        assert_eq!(best.status.as_deref(), Some("code"));
        assert_eq!(best.paths, ["/a"]);
    }

    #[test]
    fn errors_are_not_requests() {
        let proposals = propose(&series(&[
            ("app_request_errors_total", &[("endpoint", "/a")]),
            ("app_request_count_total", &[("endpoint", "/a"), ("method", "GET"), ("http_status", "200")]),
        ]));
        assert_eq!(proposals[0].metric, "app_request_count_total");
    }

    #[test]
    fn a_service_without_a_request_counter_gets_no_proposal() {
        assert_eq!(propose(&series(&[("process_cpu_seconds_total", &[]), ("up", &[])])), []);
    }
}
