//! The workers of a load as pods: made, found, spoken to, and removed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::FutureExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::core::Selector;
use tokio::io::DuplexStream;

use super::journal::{Entry, Held};
use super::manifest::{COMING, PORT, job};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::load::{Away, Link, lead};
use crate::target::Folder;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::diagnosis;
use crate::target::kubernetes::failure::{call, explain, status};
use crate::target::kubernetes::object::ObjectRef;
use crate::target::kubernetes::readiness::trouble;
use crate::target::kubernetes::record::ClusterLab;
use crate::terminal::Terminal;

/// How often pods are looked at while they are waited for.
const LOOK: Duration = Duration::from_millis(250);

/// What can't be mended by waiting may be mended by the cluster itself for so long.
const TROUBLE: Duration = Duration::from_secs(20);

/// How long opening a stream to a pod may take.
const OPEN: Duration = Duration::from_secs(5);

/// How long the removal may take before it is left to the next command, and to the cluster.
const REMOVAL: Duration = Duration::from_secs(15);

/// The label of a pod's index among its Job's.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Workers that are to come up as pods of a lab.
#[derive(Clone)]
pub struct PodWorkers {
    /// The lab's cluster.
    pub cluster: Cluster,
    /// The lab's place on it.
    pub place: ClusterLab,
    /// How many there are.
    pub workers: u64,
    /// Where the Job is written down: `.sre`.
    pub folder: Folder,
    /// What tells of waits.
    pub terminal: Terminal,
}

/// Workers that run as pods.
pub struct Crew {
    cluster: Cluster,
    entry: Entry,
    held: Held,
    terminal: Terminal,
    /// The nodes that they run on, each once, in order.
    pub nodes: Vec<String>,
    /// How they are spoken to, in the order of their indexes.
    pub links: Vec<Link>,
}

/// A pod that runs as a worker.
#[derive(Debug, Clone)]
struct Worker {
    pod: String,
    uid: String,
    node: String,
}

impl PodWorkers {
    /// The image of `sre` that the lab brought onto its nodes; other images may have come from a mirror.
    fn image(&self) -> Result<&str> {
        let last = |image: &str| image.rsplit('/').next().unwrap_or_default().to_owned();
        let tagged = |image: &&String| last(image).contains(concat!(":", env!("CARGO_PKG_VERSION"), "-"));
        let named = |image: &&String| last(image).starts_with("sre:");
        let mut images = self.place.images.keys();
        let found = images.clone().find(tagged).or_else(|| images.find(named));
        found.map(String::as_str).ok_or_else(|| {
            Error::prerequisite("load cannot be sent from inside the cluster")
                .because_of("no image of this sre is on its nodes")
                .hint("sre up loads it, where the stack has one; or send from here: --via nodeport, or --via URL")
        })
    }

    /// Starts them as an Indexed Job, and comes back when all of them run. `run` is the run's id, and `longest` the
    /// time after which the load is over at the latest.
    ///
    /// # Errors
    /// No image (5), or pods that do not come to run (6); what was made is removed again then, as it is after an
    /// interruption (130, 143).
    pub async fn start(&self, run: &str, longest: Duration, interrupt: &Interrupt) -> Result<Crew> {
        let name = format!("sre-load-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let object = job(&name, run, self.image()?, self.workers, longest)?;
        let entry = Entry {
            context: self.place.context.clone(),
            kubeconfig: self.place.kubeconfig.clone(),
            identity: self.place.identity.clone(),
            namespace: self.place.namespace.clone(),
            name: name.clone(),
        };
        let held = entry.write(&self.folder)?;
        let mut crew = Crew {
            cluster: self.cluster.clone(),
            entry,
            held,
            terminal: self.terminal.clone(),
            nodes: Vec::new(),
            links: Vec::new(),
        };
        let api: Api<Job> = Api::namespaced(self.cluster.client(), &self.place.namespace);
        let coming = async {
            create(&api, &object, &name).await?;
            self.all(&name).await
        };
        let workers = match interrupt.or(coming).await {
            Ok(Ok(workers)) => workers,
            Ok(Err(error)) | Err(error) => {
                crew.dismiss().await;
                return Err(error);
            }
        };
        crew.nodes = workers.iter().map(|worker| worker.node.clone()).collect();
        crew.nodes.sort();
        crew.nodes.dedup();
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), &self.place.namespace);
        crew.links = workers.into_iter().map(|worker| link(pods.clone(), worker)).collect();
        Ok(crew)
    }

    /// The pods, in the order of their indexes, once all of them run.
    async fn all(&self, job: &str) -> Result<Vec<Worker>> {
        let namespace = &self.place.namespace;
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), namespace);
        let labels: Selector =
            [("batch.kubernetes.io/job-name".to_owned(), job.to_owned())].into_iter().collect();
        let params = ListParams::default().labels_from(&labels);
        let begun = Instant::now();
        let mut told = Instant::now();
        loop {
            let what = || format!("the pods of Job {namespace}/{job} could not be listed");
            let pods = call(what, || api.list(&params)).await?.items;
            let running: BTreeMap<u64, Worker> = pods.iter().filter_map(running).collect();
            if running.len() as u64 == self.workers {
                return Ok(running.into_values().collect());
            }
            let failed = || {
                Error::target(format!(
                    "{} of {} load workers run on the cluster",
                    running.len(),
                    self.workers
                ))
            };
            let ended =
                |pod: &&Pod| phase(pod).is_some_and(|phase| phase == "Failed" || phase == "Succeeded");
            if let Some(pod) = pods.iter().find(ended) {
                return Err(self.explain(job, failed().because_of(format!("pod {}", why(pod)))).await);
            }
            let in_trouble = pods.iter().find_map(|pod| trouble(&dynamic(pod)?));
            if begun.elapsed() > TROUBLE
                && let Some(trouble) = &in_trouble
            {
                return Err(self.explain(job, failed().because_of(trouble.clone())).await);
            }
            if begun.elapsed() > COMING || (begun.elapsed() > TROUBLE && pods.is_empty()) {
                let within = format!("after {} s", begun.elapsed().as_secs());
                return Err(self.explain(job, failed().because_of(within)).await);
            }
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                let trouble = in_trouble.map_or(String::new(), |trouble| format!(" · {trouble}"));
                self.terminal.say(format!(
                    "waiting for Job {namespace}/{job}: {} of {} workers run{trouble} ({} s of {} s)",
                    running.len(),
                    self.workers,
                    begun.elapsed().as_secs(),
                    COMING.as_secs()
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Adds what the cluster tells of the Job and its pods.
    async fn explain(&self, job: &str, error: Error) -> Error {
        let object = ObjectRef {
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            namespace: Some(self.place.namespace.clone()),
            name: job.into(),
        };
        let found = match self.cluster.api(&object, &self.place.namespace).await {
            Ok(Some((api, _))) => api.get_opt(job).await.ok().flatten(),
            _ => None,
        };
        diagnosis::explain(&self.cluster, &object, found.as_ref(), error).await
    }
}

/// Makes the Job; one that is there already is the one of an attempt whose answer was lost.
async fn create(api: &Api<Job>, object: &Job, name: &str) -> Result<()> {
    let params = PostParams::default();
    let made = call(
        || format!("Job {name} could not be made"),
        || async {
            match api.create(&params, object).await {
                Err(error) if status(&error) == Some(409) => Ok(()),
                made => made.map(drop),
            }
        },
    );
    made.await
}

impl Crew {
    /// Removes the Job and its pods. Where that fails it is said: the next command tries again, and the cluster
    /// removes them by itself.
    pub async fn dismiss(self) {
        drop(self.links);
        let removed = tokio::time::timeout(REMOVAL, self.entry.remove(&self.cluster)).await;
        let why = match removed {
            Ok(Ok(_)) => return self.held.forget(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", REMOVAL.as_secs()),
        };
        self.terminal.warn(format!(
            "Job {}/{} is not removed yet: {why}\n  → the next sre command tries again; its pods end by themselves",
            self.entry.namespace, self.entry.name
        ));
    }
}

fn dynamic(pod: &Pod) -> Option<DynamicObject> {
    serde_json::to_value(pod).and_then(serde_json::from_value).ok()
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// A pod's index, and what is needed to speak to it, if it runs and stays.
fn running(pod: &Pod) -> Option<(u64, Worker)> {
    if phase(pod) != Some("Running") || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let index = pod.metadata.labels.as_ref()?.get(INDEX)?.parse().ok()?;
    let worker = Worker {
        pod: pod.metadata.name.clone()?,
        uid: pod.metadata.uid.clone()?,
        node: pod.spec.as_ref()?.node_name.clone()?,
    };
    Some((index, worker))
}

/// How a pod ended: `sre-load-x-0-abcde: OOMKilled, exit code 137`.
fn why(pod: &Pod) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref();
    let ended = status
        .and_then(|status| status.container_statuses.as_ref()?.first()?.state.as_ref()?.terminated.as_ref())
        .map(|ended| {
            format!("{}, exit code {}", ended.reason.as_deref().unwrap_or("ended"), ended.exit_code)
        });
    let said = status.and_then(|status| {
        let reason = status.reason.as_deref()?;
        Some(format!("{reason}: {}", status.message.as_deref().unwrap_or_default()))
    });
    let told: Vec<String> = [said, ended].into_iter().flatten().collect();
    if told.is_empty() { format!("{name} ended") } else { format!("{name}: {}", told.join("; ")) }
}

fn link(pods: Api<Pod>, worker: Worker) -> Link {
    let place = format!("pod {} on {}", worker.pod, worker.node);
    Link::new(place, None, |ends| {
        let connect = move || connect(pods.clone(), worker.clone()).boxed();
        tokio::spawn(lead(connect, ends))
    })
}

/// A stream to the worker in a pod.
async fn connect(pods: Api<Pod>, worker: Worker) -> Result<DuplexStream, Away> {
    match pods.get_opt(&worker.pod).await {
        Ok(None) => return Err(Away::ForGood("its pod was deleted".into())),
        Ok(Some(pod)) if pod.metadata.uid.as_deref() != Some(worker.uid.as_str()) => {
            return Err(Away::ForGood("it was started again".into()));
        }
        Ok(Some(pod)) if matches!(phase(&pod), Some("Failed" | "Succeeded")) => {
            return Err(Away::ForGood(why(&pod)));
        }
        Ok(Some(_)) => {}
        Err(error) => return Err(Away::ForNow(explain(&error))),
    }
    let opened = tokio::time::timeout(OPEN, pods.portforward(&worker.pod, &[PORT])).await;
    let mut forwarder = match opened {
        Ok(Ok(forwarder)) => forwarder,
        Ok(Err(error)) => return Err(Away::ForNow(explain(&error))),
        Err(_) => return Err(Away::ForNow(format!("no stream to its pod within {} s", OPEN.as_secs()))),
    };
    let Some(mut stream) = forwarder.take_stream(PORT) else {
        return Err(Away::ForNow("no stream to its pod".into()));
    };
    // The forwarder has to live as long as its stream.
    let (near, mut far) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let _ = tokio::io::copy_bidirectional(&mut far, &mut stream).await;
        forwarder.abort();
    });
    Ok(near)
}
