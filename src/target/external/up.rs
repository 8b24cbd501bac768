//! Looks whether everything of an external stack answers, and records where.

use std::time::{Duration, Instant};

use indexmap::IndexMap;
use url::Url;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::http_client::host_and_port;
use crate::observe::{Alertmanager, Health, Prometheus, Target, ensure_credentials};
use crate::stack::{ExternalEndpoint, ExternalStack, Stack};
use crate::target::{Endpoint, Endpoints, Lab, Replica, TargetKind, where_it_runs};

/// How long a Prometheus that has just started is waited for: it looks for targets after five seconds, and scrapes them
/// somewhat later.
const YOUNG: Duration = Duration::from_secs(20);

/// How often it is looked whether it knows them now.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Looks whether the service answers, Prometheus answers, and every instance is scraped. Starts nothing.
///
/// `waiting` is told what is waited for.
///
/// # Errors
/// Usage (exit 2) where the stack has no part `external`; the target (exit 6) where something does not answer; a
/// prerequisite (exit 5) where credentials are not in the environment.
pub async fn up(
    stack: &Stack,
    parameters: &IndexMap<String, String>,
    waiting: &(dyn Fn(&str) + Sync),
) -> Result<Lab> {
    let external = part(stack)?;
    let endpoints = endpoints(stack, external);
    ensure_credentials(&endpoints)?;
    for url in &external.service {
        answers(url).await?;
    }
    let prometheus = Prometheus::new(&endpoint(&external.prometheus))?;
    let version = prometheus.version().await.map_err(unreachable)?;
    // An agent tells its version and its targets, and answers no query.
    prometheus.time().await.map_err(unreachable)?;
    all_scraped(external, stack.counter.job.as_deref(), &prometheus, waiting).await?;
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
        endpoints,
        processes: Vec::new(),
        versions,
        cluster: None,
    })
}

const NEW: &str = "sre init --external URL writes a stack file";

fn part(stack: &Stack) -> Result<&ExternalStack> {
    stack.external.as_ref().ok_or_else(|| {
        Error::usage(format!("the stack {} is not on the target external", stack.name))
            .because_of("its file has no key `external`")
            .hint(
                where_it_runs(stack).map_or_else(
                    || NEW.to_owned(),
                    |other| format!("{other}; for a service of your own, {NEW}"),
                ),
            )
    })
}

/// Whether the stack's file names other addresses than the lab was brought up with.
pub fn has_moved(stack: &Stack, lab: &Lab) -> bool {
    stack.external.as_ref().is_some_and(|external| endpoints(stack, external) != lab.endpoints)
}

/// The lab with the addresses that its stack's file has.
pub fn moved(stack: &Stack, lab: Lab) -> Lab {
    match &stack.external {
        Some(external) => Lab { endpoints: endpoints(stack, external), ..lab },
        None => lab,
    }
}

/// Waits, while Prometheus is young, until it scrapes what it must.
async fn all_scraped(
    external: &ExternalStack,
    job: Option<&str>,
    prometheus: &Prometheus,
    waiting: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let jobs: Vec<&str> = job.into_iter().collect();
    let asked = Instant::now();
    let mut told = false;
    loop {
        let targets = prometheus.targets_with(&jobs).await.map_err(unreachable)?;
        let Err(error) = scraped(external, job, &targets) else { return Ok(()) };
        if asked.elapsed() > YOUNG || !is_young(prometheus).await {
            return Err(error);
        }
        if !std::mem::replace(&mut told, true) {
            waiting("Prometheus has only just started: waiting for its targets");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether it may not know its targets yet. One that does not tell since when it runs is taken for old.
async fn is_young(prometheus: &Prometheus) -> bool {
    let Ok(Some(since)) = prometheus.running_since().await else { return false };
    let Ok(now) = prometheus.time().await else { return false };
    now - since.as_millisecond() as f64 / 1000.0 < YOUNG.as_secs_f64()
}

/// What an observer did not tell, as an error of the target.
fn unreachable(error: Error) -> Error {
    if error.exit() == Exit::Prerequisite {
        return error;
    }
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
    Endpoint {
        url: external.url.clone(),
        credentials: external.credentials.clone(),
        headers: external.headers.clone(),
        largest_answer_mib: external.largest_answer_mib,
    }
}

/// A connection will do: a request would be counted, by a service whose metrics lag perhaps only after the
/// run's baseline.
async fn answers(url: &Url) -> Result<()> {
    let failed = || {
        Error::target(format!("the service does not answer on {url}")).hint(
            "Start it, or mend its address in the stack file: `sre` starts nothing on the target external.",
        )
    };
    let (host, port) = host_and_port(url).ok_or_else(|| failed().because_of("the address names no host"))?;
    match tokio::time::timeout(Duration::from_secs(5), tokio::net::TcpStream::connect((host.as_str(), port)))
        .await
    {
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
            // One that was not scraped yet is down without a reason in some products.
            Some(target) if target.health == Health::Down && !target.last_error.is_empty() => {
                return Err(Error::target(format!("Prometheus cannot scrape {instance}"))
                    .because_of(target.last_error.clone()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
