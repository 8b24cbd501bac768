//! `sre init --external URL`: looks at the service's series in Prometheus and writes a stack file from them.

use url::Url;

use super::propose::{Proposal, propose};
use crate::error::{Error, Result};
use crate::observe::{Labels, Prometheus, QueryResult, Target};
use crate::target::Endpoint;

/// What was found out about a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The `job` label of its targets.
    pub job: String,
    /// The `instance` labels of its targets.
    pub instances: Vec<String>,
    /// Counters that may count its requests, best first.
    pub proposals: Vec<Proposal>,
}

/// Looks for the service among Prometheus' targets, and for what counts its requests among its series.
///
/// # Errors
/// No data (exit 3) where Prometheus does not answer, does not scrape the service, or has no counter of requests of it.
pub async fn look(service: &Url, prometheus: &Endpoint, job: Option<&str>) -> Result<Found> {
    let client = Prometheus::new(prometheus)?;
    let targets = client.targets().await?;
    let job = match job {
        Some(job) => job.to_owned(),
        None => job_of(service, &targets).await?,
    };
    let mut instances: Vec<String> = targets
        .iter()
        .filter(|target| target.job() == job)
        .map(|target| target.instance().to_owned())
        .collect();
    instances.sort();
    instances.dedup();
    if instances.is_empty() {
        return Err(Error::no_data(format!("Prometheus scrapes no target of the job {job}"))
            .because_of(format!("its jobs are: {}", jobs(&targets).join(", ")))
            .hint("Name the service's job: --job NAME"));
    }
    let selector = format!("{{job={job:?},__name__=~\".+(_total|_count)\"}}");
    let series: Vec<Labels> = match client.query(&selector, None).await? {
        QueryResult::Vector(series) => series.into_iter().map(|(labels, _)| labels).collect(),
        QueryResult::Scalar(_) => Vec::new(),
    };
    let proposals = propose(&series);
    if proposals.is_empty() {
        return Err(Error::no_data(format!(
            "no counter of requests was found among the series of the job {job}"
        ))
        .because_of("a counter appears with its first request in many libraries")
        .hint(format!(
            "Send the service a request, wait for a scrape, and call `sre init --external {service}` again"
        )));
    }
    Ok(Found { job, instances, proposals })
}

/// The job of the target that answers where the service answers.
async fn job_of(service: &Url, targets: &[Target]) -> Result<String> {
    let port = service.port_or_known_default().unwrap_or(80);
    let address = |host: String, port: u16| async move {
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        found.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>()).unwrap_or_default()
    };
    let wanted = address(service.host_str().unwrap_or_default().to_owned(), port).await;
    let mut same_port = Vec::new();
    for target in targets {
        let Ok(url) = Url::parse(&target.scrape_url) else { continue };
        if url.port_or_known_default() != Some(port) {
            continue;
        }
        let found = address(url.host_str().unwrap_or_default().to_owned(), port).await;
        if found.iter().any(|address| wanted.contains(address)) {
            return Ok(target.job().to_owned());
        }
        same_port.push(target.job().to_owned());
    }
    same_port.sort();
    same_port.dedup();
    match same_port.as_slice() {
        // Prometheus may know the service by another name than this machine does.
        [job] => Ok(job.clone()),
        _ => Err(Error::no_data(format!("Prometheus scrapes no target at {service}"))
            .because_of(format!("its jobs are: {}", jobs(targets).join(", ")))
            .hint("Name the service's job: --job NAME")),
    }
}

fn jobs(targets: &[Target]) -> Vec<String> {
    let mut jobs: Vec<String> = targets.iter().map(|target| target.job().to_owned()).collect();
    jobs.sort();
    jobs.dedup();
    jobs
}

/// The addresses that a stack file names.
#[derive(Debug, Clone)]
pub struct Addresses<'a> {
    /// The service.
    pub service: &'a Url,
    /// Prometheus.
    pub prometheus: &'a Endpoint,
    /// Alertmanager.
    pub alertmanager: Option<&'a Url>,
    /// Loki.
    pub loki: Option<&'a Url>,
}

/// A stack file for the service, with comments on what may have to be changed.
pub fn stack_file(name: &str, found: &Found, addresses: &Addresses<'_>) -> String {
    let best = &found.proposals[0];
    let told = format!("{}, watched by {}", addresses.service, addresses.prometheus.url);
    let mut text = format!(
        "# A service of your own: `sre` starts and stops nothing here.\n\
         name: {name}\n\
         description: {told}\n\n\
         # What counts the service's requests; each request must raise exactly one of its series by one.\n\
         counter:\n  metric: {metric}\n  job: {job}\n",
        told = quoted(&told),
        metric = best.metric,
        job = quoted(&found.job),
    );
    for (key, label) in [("path", &best.path), ("method", &best.method), ("status", &best.status)] {
        match label {
            Some(label) => text += &format!("  {key}: {label}\n"),
            None => text += &format!("  # {key}: the label that holds the {key}; none was found\n"),
        }
    }
    for other in found.proposals.iter().skip(1).take(4) {
        let labels: Vec<&str> =
            [&other.path, &other.method, &other.status].into_iter().flatten().map(String::as_str).collect();
        text += &format!("  # or: {} ({})\n", other.metric, labels.join(", "));
    }
    text += &format!("\nexternal:\n  service: [{}]\n", quoted(addresses.service.as_str()));
    text += "  # Every one of these must be scraped, or counts are not judged.\n";
    let instances: Vec<String> = found.instances.iter().map(|instance| quoted(instance)).collect();
    text += &format!("  instances: [{}]\n", instances.join(", "));
    text += &endpoint("prometheus", addresses.prometheus);
    for (key, url) in [("alertmanager", addresses.alertmanager), ("loki", addresses.loki)] {
        match url {
            Some(url) => text += &endpoint(key, &Endpoint::new(url.clone())),
            None => text += &format!("  # {key}: {{url: \"http://…\"}}\n"),
        }
    }
    text += "  # Credentials are named by the environment variables that hold them:\n";
    text += "  #   credentials: {bearer: PROMETHEUS_TOKEN}\n";
    text += "  #   credentials: {basic: {user: PROMETHEUS_USER, password: PROMETHEUS_PASSWORD}}\n";
    text
}

fn endpoint(key: &str, endpoint: &Endpoint) -> String {
    use crate::target::Credentials;
    let credentials = match &endpoint.credentials {
        None => String::new(),
        Some(Credentials::Bearer(token)) => format!(", credentials: {{bearer: {token}}}"),
        Some(Credentials::Basic { user, password }) => {
            format!(", credentials: {{basic: {{user: {user}, password: {password}}}}}")
        }
    };
    format!("  {key}: {{url: {}{credentials}}}\n", quoted(endpoint.url.as_str()))
}

/// A scenario to begin with: the paths that Prometheus has seen, gently.
pub fn scenario_file(name: &str, found: &Found) -> String {
    let mut paths: Vec<&str> = found.proposals[0].paths.iter().map(String::as_str).collect();
    // A template such as /users/{id} is no path, and scrapes are not requests of users.
    paths.retain(|path| !path.contains(['{', ':', '<', '*']) && !path.contains("metrics"));
    if paths.is_empty() {
        paths.push("/");
    }
    let mut text = format!(
        "# A gentle load to begin with. Every key is told in docs/scenarios.md.\n\
         name: {name}\n\
         description: A few requests a second, each counted\n\
         stack: {name}\n\n\
         load:\n  arrival-rate:\n    phases:\n      - {{duration: 20s, rate: 5/s}}\n\n\
         requests:\n"
    );
    for (number, path) in paths.iter().take(5).enumerate() {
        text +=
            &format!("  request-{}:\n    path: {}\n    expect: [2xx, 3xx, 4xx]\n", number + 1, quoted(path));
    }
    text += "\nchecks:\n  - targets: {jobs: [";
    text += &quoted(&found.job);
    text += "]}\n  - reconcile: {}\n";
    text
}

/// As a double-quoted scalar, which YAML shares with JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            job: "shop: 1".into(),
            instances: vec!["127.0.0.1:8080".into()],
            proposals: vec![Proposal {
                metric: "http_requests_total".into(),
                path: Some("handler".into()),
                method: None,
                status: Some("code".into()),
                paths: vec!["/metrics".into(), "/users/{id}".into(), "/shop".into()],
            }],
        }
    }

    #[test]
    fn the_stack_file_is_a_stack() {
        let service = Url::parse("http://127.0.0.1:8080").expect("a URL");
        let prometheus = Endpoint::new(Url::parse("http://127.0.0.1:9090").expect("a URL"));
        let addresses =
            Addresses { service: &service, prometheus: &prometheus, alertmanager: None, loki: None };
        let text = stack_file("my-service", &found(), &addresses);
        let stack: crate::stack::Stack = serde_saphyr::from_str(&text).expect(&text);
        assert_eq!(stack.counter.job.as_deref(), Some("shop: 1"));
        assert_eq!(stack.counter.path.as_deref(), Some("handler"));
        assert_eq!(stack.external.expect("external").instances, ["127.0.0.1:8080"]);
    }

    #[test]
    fn the_scenario_file_is_a_scenario() {
        let text = scenario_file("my-service", &found());
        let scenario: crate::scenario::Scenario = serde_saphyr::from_str(&text).expect(&text);
        assert_eq!(scenario.requests.values().map(|r| r.path.as_str()).collect::<Vec<_>>(), ["/shop"]);
    }
}
