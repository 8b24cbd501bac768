//! What whereami served, by the metrics of its own Flask exporter.

use super::eyes::Eyes;
use super::model::{Missing, Traffic};
use super::scope;
use super::traffic::{self, Source};
use crate::figures::counted;
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
        let groups = eyes.lately(&format!("{COUNT}{{{named}}}"), &scope::grouped()).await?;
        if groups.is_empty() {
            continue;
        }
        let source = source(&groups, named, namespace)?;
        let mut traffic = traffic::look(eyes, &source).await;
        let targets = eyes.targets(&source.count_selector()).await?;
        traffic.warnings.extend(traffic::of_targets(&targets, "whereami"));
        return Ok(traffic);
    }
    if let Some(missing) = uncounted(eyes, namespace).await? {
        return Err(missing);
    }
    Err(Missing::new(
        format!("Prometheus has no metric {COUNT} of whereami"),
        "is it scraped? its pods need prometheus.io/scrape: \"true\", port: \"8080\" and path: /metrics; and it \
         counts nothing before its first request",
    ))
}

/// Why it has counted nothing, where it is scraped or should be: it counts nothing before its first request.
async fn uncounted(eyes: &Eyes, namespace: &str) -> Result<Option<Missing>, Missing> {
    for (label, name) in NAMED {
        let up = eyes.vector(&format!("up{{{}}}", matcher(label, "=~", name))).await?;
        let here = |labels: &Labels| scope::namespace(labels).is_none_or(|(_, known)| known == namespace);
        let up: Vec<f64> = up.into_iter().filter(|(labels, _)| here(labels)).map(|(_, up)| up).collect();
        if up.is_empty() {
            continue;
        }
        let scraped = up.iter().filter(|up| **up > 0.0).count();
        return Ok(Some(match scraped {
            0 => Missing::new(
                format!("none of the {} of whereami can be scraped", counted(up.len() as u64, "target")),
                "up == 0 tells which they are, and Prometheus' page of targets why",
            ),
            _ => Missing::new(
                format!(
                    "whereami is scraped ({scraped} of {} with success) and has counted no request within an hour",
                    counted(up.len() as u64, "target")
                ),
                "it counts nothing before its first request: ask it for a page",
            ),
        }));
    }
    Ok(None)
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
