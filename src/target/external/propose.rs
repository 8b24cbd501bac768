//! Which counter counts the service's requests, and which of its labels hold path, method and status: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::observe::Labels;
use crate::stack::{MethodAs, StatusAs};

/// A counter that may count the service's requests, and what its labels seem to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// The counter's name.
    pub metric: String,
    /// The label that holds the path or route.
    pub path: Option<String>,
    /// The label that holds the method.
    pub method: Option<String>,
    /// How it spells methods.
    pub method_as: MethodAs,
    /// The label that holds the status.
    pub status: Option<String>,
    /// How it spells statuses.
    pub status_as: StatusAs,
    /// A label that names what handles a request, in words that are no paths.
    pub handler: Option<String>,
    /// What was counted, once for each series.
    pub seen: Vec<Seen>,
}

/// One series of a counter: what its labels hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Seen {
    /// The path, or what handles it.
    pub path: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The status.
    pub status: Option<String>,
    /// Whether it was ever raised: many libraries begin all their series at 0.
    pub raised: bool,
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
const VERBS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Every counter among a service's series that may count its requests, best first.
pub fn propose(series: &[(Labels, f64)]) -> Vec<Proposal> {
    let mut metrics: BTreeMap<&str, Vec<&(Labels, f64)>> = BTreeMap::new();
    for sample in series {
        if let Some(name) = sample.0.get("__name__").filter(|name| may_count(name)) {
            metrics.entry(name).or_default().push(sample);
        }
    }
    let mut proposals: Vec<(i32, Proposal)> = metrics
        .into_iter()
        .map(|(name, series)| proposal(name, &series))
        .map(|proposal| (score(&proposal), proposal))
        .filter(|(score, _)| *score > 0)
        .collect();
    proposals.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.metric.cmp(&b.1.metric)));
    proposals.into_iter().map(|(_, proposal)| proposal).collect()
}

/// A counter by its name, or the count of a histogram or summary, which counts as exactly. Go's handler of
/// /metrics counts scrapes only.
fn may_count(name: &str) -> bool {
    let name = underscored(name);
    ["_total", "_count", "_requests"].iter().any(|end| name.ends_with(end)) && !name.starts_with("promhttp_")
}

/// A name as older versions spell it.
fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

fn proposal(metric: &str, series: &[&(Labels, f64)]) -> Proposal {
    let known: BTreeSet<&str> =
        series.iter().flat_map(|(labels, _)| labels.keys().map(String::as_str)).collect();
    // The first label of these names that has values, all of which are what they should be.
    let label = |names: &[&str], fits: &dyn Fn(&[&str]) -> bool| {
        let holds = |name: &&&str| {
            let values: Vec<&str> =
                series.iter().filter_map(|(labels, _)| Some(labels.get(**name)?.as_str())).collect();
            !values.is_empty() && fits(&values)
        };
        // As they are spelt there: since Prometheus 3 a name may have dots.
        let spelt = names
            .iter()
            .flat_map(|name| known.iter().copied().filter(move |known| underscored(known) == *name));
        let spelt: Vec<&str> = spelt.collect();
        spelt.iter().find(holds).map(|name| (*name).to_owned())
    };
    let path = label(PATHS, &|values| values.iter().any(|value| value.starts_with('/')));
    let handler = match path {
        Some(_) => None,
        None => label(PATHS, &|values| values.iter().any(|value| !value.is_empty())),
    };
    let is_verb = |value: &&str| VERBS.iter().any(|verb| verb.eq_ignore_ascii_case(value));
    let method = label(METHODS, &|values| values.iter().any(is_verb));
    let codes = label(STATUSES, &|values| values.iter().all(|value| is_code(value)));
    let classes = label(STATUSES, &|values| values.iter().all(|value| is_class(value)));
    let status_as = if codes.is_none() && classes.is_some() { StatusAs::Class } else { StatusAs::Code };
    let status = codes.or(classes);
    let value = |labels: &Labels, name: &Option<String>| labels.get(name.as_ref()?).cloned();
    let mut seen: Vec<Seen> = series
        .iter()
        .map(|(labels, count)| Seen {
            path: value(labels, if path.is_some() { &path } else { &handler }),
            method: value(labels, &method),
            status: value(labels, &status),
            raised: *count > 0.0,
        })
        .collect();
    seen.sort();
    seen.dedup();
    let lower =
        |seen: &Seen| seen.method.as_ref().is_some_and(|method| *method == method.to_ascii_lowercase());
    let method_as = if seen.iter().any(lower) { MethodAs::Lower } else { MethodAs::Sent };
    Proposal { metric: metric.into(), path, method, method_as, status, status_as, handler, seen }
}

fn is_code(value: &str) -> bool {
    value.len() == 3 && value.parse().is_ok_and(|code: u16| (100..600).contains(&code))
}

fn is_class(value: &str) -> bool {
    matches!(value.as_bytes(), [b'1'..=b'5', b'x', b'x'])
}

/// How much speaks for a counter; nothing does without a word for requests or a status.
fn score(proposal: &Proposal) -> i32 {
    let name = &proposal.metric;
    let mut score = 4 * i32::from(name.contains("request")) + 4 * i32::from(proposal.status.is_some());
    if score == 0 {
        return 0;
    }
    score += 2 * i32::from(name.contains("http"));
    score += 2 * i32::from(proposal.method.is_some());
    score += 3 * i32::from(proposal.path.is_some());
    score += 2 * i32::from(underscored(name).ends_with("_total"));
    // Sizes, errors and what the service sends itself are counted by names that look alike.
    for other in
        ["error", "exception", "size", "bytes", "client", "in_flight", "active", "fail", "rejected", "retr"]
    {
        score -= 5 * i32::from(name.contains(other));
    }
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &[(&str, &[(&str, &str)])]) -> Vec<(Labels, f64)> {
        text.iter()
            .map(|(name, labels)| {
                let own = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                (own.chain([("__name__".to_owned(), (*name).to_owned())]).collect(), 1.0)
            })
            .collect()
    }

    fn best(text: &[(&str, &[(&str, &str)])]) -> Proposal {
        propose(&series(text)).into_iter().next().expect("a proposal")
    }

    #[test]
    fn the_usual_names_are_found() {
        let proposals = propose(&series(&[
            ("http_requests_total", &[("handler", "/a"), ("method", "get"), ("code", "200")]),
            ("http_request_duration_seconds_count", &[("handler", "/a"), ("method", "get")]),
            ("promhttp_metric_handler_requests_total", &[("code", "200")]),
            ("prometheus_sd_http_failures_total", &[]),
            ("process_cpu_seconds_total", &[]),
            ("go_gc_duration_seconds_count", &[]),
        ]));
        let names: Vec<&str> = proposals.iter().map(|p| p.metric.as_str()).collect();
        assert_eq!(names, ["http_requests_total", "http_request_duration_seconds_count"]);
        let best = &proposals[0];
        assert_eq!(best.path.as_deref(), Some("handler"));
        assert_eq!(best.method.as_deref(), Some("method"));
        assert_eq!(best.method_as, MethodAs::Lower);
        assert_eq!(best.status.as_deref(), Some("code"));
        assert_eq!(best.status_as, StatusAs::Code);
    }

    #[test]
    fn conventions_of_spring_fastapi_and_opentelemetry_are_known() {
        let spring = best(&[(
            "http_server_requests_seconds_count",
            &[("uri", "/users/{id}"), ("method", "GET"), ("status", "200"), ("outcome", "SUCCESS")],
        )]);
        assert_eq!((spring.path.as_deref(), spring.status.as_deref()), (Some("uri"), Some("status")));
        assert_eq!(spring.method_as, MethodAs::Sent);
        let fastapi =
            best(&[("http_requests_total", &[("handler", "/a"), ("method", "GET"), ("status", "2xx")])]);
        assert_eq!((fastapi.status.as_deref(), fastapi.status_as), (Some("status"), StatusAs::Class));
        let otel = best(&[
            (
                "http_client_request_duration_seconds_count",
                &[("http_request_method", "GET"), ("http_response_status_code", "200")],
            ),
            (
                "http_server_request_duration_seconds_count",
                &[("http_route", "/a"), ("http_request_method", "GET"), ("http_response_status_code", "200")],
            ),
        ]);
        assert_eq!(otel.metric, "http_server_request_duration_seconds_count");
        assert_eq!(otel.status.as_deref(), Some("http_response_status_code"));
    }

    #[test]
    fn names_with_dots_are_known_as_they_are_spelt() {
        let found = best(&[(
            "http.server.request.duration_count",
            &[("http.route", "/a"), ("http.request.method", "GET"), ("http.response.status_code", "200")],
        )]);
        assert_eq!(found.metric, "http.server.request.duration_count");
        assert_eq!(found.path.as_deref(), Some("http.route"));
        assert_eq!(found.method.as_deref(), Some("http.request.method"));
        assert_eq!(found.status.as_deref(), Some("http.response.status_code"));
    }

    #[test]
    fn a_label_whose_values_are_something_else_is_not_taken_by_its_name() {
        let found = best(&[(
            "requests_total",
            &[("path", "index"), ("status", "ok"), ("code", "200"), ("method", "ListUsers")],
        )]);
        assert_eq!((found.path.as_deref(), found.handler.as_deref()), (None, Some("path")));
        assert_eq!((found.status.as_deref(), found.method.as_deref()), (Some("code"), None));
    }

    #[test]
    fn errors_are_not_requests() {
        let found = best(&[
            ("app_request_errors_total", &[("endpoint", "/a")]),
            ("app_request_count_total", &[("endpoint", "/a"), ("method", "GET"), ("http_status", "200")]),
        ]);
        assert_eq!(found.metric, "app_request_count_total");
    }

    #[test]
    fn a_service_without_a_request_counter_gets_no_proposal() {
        let proposals = propose(&series(&[
            ("process_cpu_seconds_total", &[]),
            ("promhttp_metric_handler_requests_total", &[("code", "200")]),
            ("up", &[]),
        ]));
        assert_eq!(proposals, []);
    }
}
