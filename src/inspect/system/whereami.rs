//! What whereami served, by the metrics of its own Flask exporter.

use super::eyes::Eyes;
use super::model::{Missing, Traffic};
use super::scope;
use super::traffic::{self, Source};
use crate::observe::{Labels, matcher};

/// The histogram's own count: unlike `flask_http_request_total` it tells paths apart.
const COUNT: &str = "flask_http_request_duration_seconds_count";
const BUCKETS: &str = "flask_http_request_duration_seconds_bucket";

/// Paths that nobody but the kubelet and Prometheus asks for.
const NOT_USERS: &str = "/healthz|/metrics";

/// The labels that may hold its name, the surest first, and what they hold then.
const NAMED: [(&str, &str); 5] = [
    ("app", "whereami"),
    ("app_kubernetes_io_name", "whereami"),
    ("pod", "whereami(-.+)?"),
    ("service", "whereami(-.+)?"),
    ("job", "(.+/)?whereami(-.+)?"),
];

/// What whereami served in a namespace.
pub async fn look(eyes: &Eyes, namespace: &str) -> Result<Traffic, Missing> {
    for (label, name) in NAMED {
        let named = matcher(label, "=~", name);
        let series = eyes.vector(&format!("group by ({}) ({COUNT}{{{named}}})", scope::grouped())).await?;
        if series.is_empty() {
            continue;
        }
        let groups: Vec<Labels> = series.into_iter().map(|(labels, _)| labels).collect();
        return Ok(traffic::look(eyes, &source(&groups, named, namespace)?).await);
    }
    Err(Missing::new(
        format!("Prometheus has no metric {COUNT} of whereami"),
        "is it scraped? its pods need prometheus.io/scrape: \"true\", port: \"8080\" and path: /metrics; and it \
         counts nothing before its first request",
    ))
}

/// Where whereami's requests are counted, by the namespaces that its series tell.
fn source(groups: &[Labels], named: String, namespace: &str) -> Result<Source, Missing> {
    let mut elsewhere: Vec<&str> =
        groups.iter().filter_map(scope::namespace).map(|(_, namespace)| namespace).collect();
    elsewhere.sort_unstable();
    elsewhere.dedup();
    if !elsewhere.is_empty() && !elsewhere.contains(&namespace) {
        return Err(Missing::new(
            format!("whereami is scraped in {}, not in {namespace}", elsewhere.join(", ")),
            format!("sre inspect {}", elsewhere[0]),
        ));
    }
    // Without a label of a namespace there is one whereami, and nothing to tell it from.
    let here = scope::matching(groups, namespace);
    let matchers = [named, matcher("path", "!~", NOT_USERS)].into_iter().chain(here).collect();
    Ok(Source { of: "whereami".into(), count: COUNT, status: "status", buckets: BUCKETS, matchers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_narrowed_to_the_namespace_where_its_series_tell_one() {
        let groups = [Labels::from([("namespace".into(), "default".into())]), Labels::new()];
        let here = source(&groups, "app=~\"whereami\"".into(), "default").expect("it is there");
        assert_eq!(
            here.count_selector(),
            "flask_http_request_duration_seconds_count{app=~\"whereami\",path!~\"/healthz|/metrics\",namespace=\"default\"}"
        );
        let bare = source(&[Labels::new()], "app=~\"whereami\"".into(), "default").expect("it is there");
        assert!(!bare.count_selector().contains("namespace"));
    }

    #[test]
    fn one_of_another_namespace_is_not_taken_for_it() {
        let groups = [Labels::from([("namespace".into(), "shop".into())])];
        let missing = source(&groups, "app=~\"whereami\"".into(), "default").expect_err("another's");
        assert_eq!(missing.next.as_deref(), Some("sre inspect shop"));
    }
}
