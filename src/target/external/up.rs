//! Looks whether everything of an external stack answers, and records where.

use std::time::Duration;

use indexmap::IndexMap;
use url::Url;

use crate::error::{Error, Result};
use crate::observe::{Alertmanager, Health, Prometheus, Target};
use crate::stack::{ExternalEndpoint, ExternalStack, Stack};
use crate::target::{Endpoint, Endpoints, Lab, Replica, TargetKind};

/// Looks whether the service answers, Prometheus answers, and every instance is scraped. Starts nothing.
///
/// # Errors
/// Usage (exit 2) where the stack has no part `external`; the target (exit 6) where something does not answer.
pub async fn up(stack: &Stack, parameters: &IndexMap<String, String>) -> Result<Lab> {
    let external = stack.external.as_ref().ok_or_else(|| {
        Error::usage(format!("the stack {} is not on the target external", stack.name))
            .because_of("its file has no key `external`")
            .hint("sre init --external URL writes a stack file for a service of your own")
    })?;
    for url in &external.service {
        answers(url).await?;
    }
    let prometheus = Prometheus::new(&endpoint(&external.prometheus))?;
    let version = prometheus.version().await.map_err(unreachable)?;
    let targets = prometheus.targets().await.map_err(unreachable)?;
    scraped(external, stack.counter.job.as_deref(), &targets)?;
    let mut versions = IndexMap::from([("prometheus".to_owned(), version)]);
    if let Some(alertmanager) = &external.alertmanager {
        let version = Alertmanager::new(&endpoint(alertmanager))?.version().await;
        versions.insert("alertmanager".into(), version.map_err(unreachable)?);
    }
    Ok(Lab {
        schema: crate::target::LAB_SCHEMA.into(),
        stack: stack.name.clone(),
        target: TargetKind::External,
        parameters: parameters.clone(),
        complete: true,
        endpoints: endpoints(stack, external),
        processes: Vec::new(),
        versions,
        cluster: None,
    })
}

/// What an observer did not tell, as an error of the target.
fn unreachable(error: Error) -> Error {
    let causes = error.causes().iter().fold(Error::target(error.what()), |all, cause| all.because_of(cause));
    causes.hint(error.next_step().unwrap_or("Its address stands in the stack file, under `external`."))
}

fn endpoints(stack: &Stack, external: &ExternalStack) -> Endpoints {
    let one_each = external.instances.len() == external.service.len();
    let replicas = external.service.iter().enumerate().map(|(number, url)| Replica {
        name: match external.service.len() {
            1 => stack.name.clone(),
            _ => format!("{}-{number}", stack.name),
        },
        url: url.clone(),
        // With one instance a base URL the two belong together; else nobody knows which is behind which.
        instance: one_each.then(|| external.instances[number].clone()),
        admin: None,
    });
    Endpoints {
        replicas: replicas.collect(),
        instances: if one_each { Vec::new() } else { external.instances.clone() },
        pods: Vec::new(),
        prometheus: Some(endpoint(&external.prometheus)),
        alertmanager: external.alertmanager.as_ref().map(endpoint),
        receiver: external.receiver.as_ref().map(endpoint),
        loki: external.loki.as_ref().map(endpoint),
    }
}

fn endpoint(external: &ExternalEndpoint) -> Endpoint {
    Endpoint { url: external.url.clone(), credentials: external.credentials.clone() }
}

/// A connection will do: a request would be counted, by a service whose metrics lag perhaps only after the
/// run's baseline.
async fn answers(url: &Url) -> Result<()> {
    let failed = || {
        Error::target(format!("the service does not answer on {url}")).hint(
            "Start it, or mend its address in the stack file: `sre` starts nothing on the target external.",
        )
    };
    let host = url.host_str().ok_or_else(|| failed().because_of("the address names no host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    match tokio::time::timeout(Duration::from_secs(5), tokio::net::TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(failed().because(e)),
        Err(_) => Err(failed().because_of("no connection within 5 s")),
    }
}

fn scraped(external: &ExternalStack, job: Option<&str>, targets: &[Target]) -> Result<()> {
    let of_job: Vec<&Target> =
        targets.iter().filter(|target| job.is_none_or(|job| target.job() == job)).collect();
    let job = job.map_or("of any job".to_owned(), |job| format!("of the job {job}"));
    if of_job.is_empty() {
        return Err(Error::target(format!("Prometheus has no target {job}"))
            .hint("Mend `counter.job` in the stack file, or Prometheus' scrape configuration."));
    }
    for instance in &external.instances {
        match of_job.iter().find(|target| target.instance() == instance) {
            None => {
                return Err(Error::target(format!("Prometheus does not scrape {instance}"))
                    .because_of(format!("it is not among its targets {job}"))
                    .hint(
                        "Mend `external.instances` in the stack file, or Prometheus' scrape configuration.",
                    ));
            }
            Some(target) if target.health == Health::Down => {
                return Err(Error::target(format!("Prometheus cannot scrape {instance}"))
                    .because_of(target.last_error.clone()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
