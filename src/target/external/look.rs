//! Looks at a running service through its Prometheus: which targets are its own, and what counts its requests.

use std::net::IpAddr;

use serde::Serialize;
use url::Url;

use super::propose::{Proposal, propose};
use crate::error::{Error, Result};
use crate::http_client::host_and_port;
use crate::observe::{Labels, Prometheus, QueryResult, Target, matcher};
use crate::target::Endpoint;

/// What was found out about a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Prometheus' version.
    pub prometheus: String,
    /// The `job` label of its targets.
    pub job: String,
    /// The `instance` labels of its targets; those of the service's URLs first, in their order.
    pub instances: Vec<String>,
    /// The paths that Prometheus scrapes: counted like requests by many services.
    pub scraped_paths: Vec<String>,
    /// Counters that may count its requests, best first; never empty.
    pub proposals: Vec<Proposal>,
}

/// Looks for the service among Prometheus' targets, and for what counts its requests among its series.
///
/// # Errors
/// No data (exit 3) where Prometheus does not answer, does not scrape the service, or has no counter of requests
/// of it; a prerequisite (exit 5) where credentials are not in the environment.
pub async fn look(services: &[Url], prometheus: &Endpoint, job: Option<&str>) -> Result<Found> {
    let client = Prometheus::new(prometheus)?;
    let version = client.version().await.map_err(is_it_prometheus)?;
    let named: Vec<&str> = job.into_iter().collect();
    let targets = client.targets_with(&named).await?;
    let mut of_services = Vec::new();
    for service in services {
        of_services.push(target_at(service, &targets).await);
    }
    let job = match job {
        Some(job) => job.to_owned(),
        None => job_of(services, &of_services, &targets)?,
    };
    let own: Vec<&Target> = targets.iter().filter(|target| target.job() == job).collect();
    if own.is_empty() {
        return Err(Error::no_data(format!("Prometheus scrapes no target of the job {job}"))
            .because_of(jobs(&targets))
            .hint("Name the service's job by --job NAME, or have Prometheus scrape the service."));
    }
    let found = Found {
        prometheus: version,
        instances: instances(&own, &of_services),
        scraped_paths: scraped_paths(&own),
        proposals: proposals(&client, &job).await?,
        job,
    };
    if found.proposals.is_empty() {
        return Err(Error::no_data(format!(
            "no counter of requests was found among the series of the job {}",
            found.job
        ))
        .because_of(match own.iter().find(|target| !target.last_error.is_empty()) {
            Some(target) => format!("{} cannot be scraped: {}", target.instance(), target.last_error),
            None => "in many libraries a counter appears with its first request".to_owned(),
        })
        .hint("Send the service a request, wait for a scrape, and say it again."));
    }
    Ok(found)
}

fn is_it_prometheus(error: Error) -> Error {
    match error.next_step() {
        Some(_) => error,
        None => error.hint("Is this the address of a Prometheus, and does it run? --prometheus URL"),
    }
}

/// The counters of a job that may count requests, best first. A gauge counts nothing, whatever its name.
async fn proposals(client: &Prometheus, job: &str) -> Result<Vec<Proposal>> {
    let names = matcher("__name__", "=~", ".+[._](total|count|requests)");
    let selector = format!("{{{},{names}}}", matcher("job", "=", job));
    let series: Vec<(Labels, f64)> = match client.query(&selector, None).await? {
        QueryResult::Vector(series) => series,
        QueryResult::Scalar(_) => Vec::new(),
    };
    let mut proposals = Vec::new();
    for proposal in propose(&series).into_iter().take(8) {
        if client.metric_type(&proposal.metric).await?.as_deref() != Some("gauge") {
            proposals.push(proposal);
        }
    }
    Ok(proposals)
}

/// The target that answers where the service answers.
async fn target_at<'a>(service: &Url, targets: &'a [Target]) -> Option<&'a Target> {
    let wanted = addresses(service).await;
    for target in targets {
        let Ok(url) = Url::parse(&target.scrape_url) else { continue };
        if url.port_or_known_default() == service.port_or_known_default()
            && addresses(&url).await.iter().any(|address| wanted.contains(address))
        {
            return Some(target);
        }
    }
    None
}

async fn addresses(url: &Url) -> Vec<IpAddr> {
    let Some((host, port)) = host_and_port(url) else { return Vec::new() };
    let found = tokio::time::timeout(
        std::time::Duration::from_secs(2),
        tokio::net::lookup_host((host.as_str(), port)),
    );
    match found.await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        _ => Vec::new(),
    }
}

/// The one job of the service's targets.
fn job_of(services: &[Url], of_services: &[Option<&Target>], targets: &[Target]) -> Result<String> {
    let mut found: Vec<&str> = of_services.iter().flatten().map(|target| target.job()).collect();
    if found.is_empty() {
        // Prometheus may know the service by another name than this machine does.
        let ports: Vec<_> = services.iter().map(Url::port_or_known_default).collect();
        let same_port = |target: &&Target| {
            Url::parse(&target.scrape_url).is_ok_and(|url| ports.contains(&url.port_or_known_default()))
        };
        found = targets.iter().filter(same_port).map(Target::job).collect();
    }
    found.sort_unstable();
    found.dedup();
    let services = services.iter().map(Url::as_str).collect::<Vec<_>>().join(", ");
    match found.as_slice() {
        [job] => Ok((*job).to_owned()),
        [] => Err(Error::no_data(format!("Prometheus scrapes no target at {services}"))
            .because_of(jobs(targets))
            .hint("Name the service's job by --job NAME, or have Prometheus scrape the service.")),
        several => Err(Error::no_data(format!("several jobs may be the one of {services}"))
            .because_of(format!("they are: {}", several.join(", ")))
            .hint("Name the service's job: --job NAME")),
    }
}

fn jobs(targets: &[Target]) -> String {
    let mut jobs: Vec<&str> = targets.iter().map(Target::job).collect();
    jobs.sort_unstable();
    jobs.dedup();
    match jobs.as_slice() {
        [] => "it has no target at all".to_owned(),
        jobs => format!("its jobs are: {}", jobs.join(", ")),
    }
}

/// Those that belong to a URL first: where there are as many as URLs, each is taken for its URL's.
fn instances(own: &[&Target], of_services: &[Option<&Target>]) -> Vec<String> {
    let mut others: Vec<&str> = own.iter().map(|target| target.instance()).collect();
    others.sort_unstable();
    let mut instances: Vec<String> = Vec::new();
    for instance in of_services.iter().flatten().map(|target| target.instance()).chain(others.clone()) {
        if others.contains(&instance) && !instances.iter().any(|known| known == instance) {
            instances.push(instance.to_owned());
        }
    }
    instances
}

fn scraped_paths(own: &[&Target]) -> Vec<String> {
    let mut paths: Vec<String> = own
        .iter()
        .filter_map(|target| Some(Url::parse(&target.scrape_url).ok()?.path().to_owned()))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Health;

    fn target(job: &str, address: &str) -> Target {
        Target {
            labels: Labels::from([("job".into(), job.into()), ("instance".into(), address.into())]),
            scrape_url: format!("http://{address}/metrics"),
            last_error: String::new(),
            health: Health::Up,
            last_scrape: jiff::Timestamp::UNIX_EPOCH,
            scrape_interval: String::new(),
            scrape_timeout: String::new(),
            by_up: false,
        }
    }

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[tokio::test]
    async fn a_target_is_found_by_where_it_answers() {
        let targets = [target("a", "127.0.0.1:80"), target("b", "127.0.0.1:8080")];
        let job = |service: &'static str| {
            let targets = targets.clone();
            async move {
                let service = url(service);
                let found = [target_at(&service, &targets).await];
                job_of(&[service], &found, &targets).map_err(|error| error.to_string())
            }
        };
        assert_eq!(job("http://localhost:8080").await.as_deref(), Ok("b"));
        assert_eq!(job("http://127.0.0.1").await.as_deref(), Ok("a"));
        // Prometheus may know it by another name.
        assert_eq!(job("http://127.0.0.9:8080").await.as_deref(), Ok("b"));
        let error = job("http://127.0.0.1:9").await.expect_err("nobody is there");
        assert!(error.contains("its jobs are: a, b") && error.contains("--job"), "{error}");
    }

    #[test]
    fn several_jobs_are_not_chosen_among() {
        let targets = [target("a", "10.0.0.1:80"), target("b", "10.0.0.2:80")];
        let error = job_of(&[url("http://shop")], &[None], &targets).expect_err("two jobs");
        assert!(error.to_string().contains("a, b"), "{error}");
    }

    #[test]
    fn instances_stand_in_the_order_of_their_urls() {
        let targets = [target("a", "x:1"), target("a", "x:2"), target("a", "x:3")];
        let own: Vec<&Target> = targets.iter().collect();
        let of_services = [Some(&targets[2]), None, Some(&targets[0])];
        assert_eq!(instances(&own, &of_services), ["x:3", "x:1", "x:2"]);
    }
}
