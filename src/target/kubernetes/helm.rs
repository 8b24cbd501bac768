//! Helm releases, with Helm 3 and 4: installed once, mended after a kill, left alone when nothing changed.

use std::path::Path;

use super::client::Cluster;
use super::object::{ObjectRef, read_objects};
use super::orphan;
use super::plan::Release;
use super::program::{Finished, Program};
use super::release::{Recovery, Revision, fingerprint, recovery};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// Revisions of a release that are kept; each is a Secret of up to half a megabyte.
const HISTORY: &str = "5";

/// The environment variable that marks a helm process with the release it works on.
const MARK: &str = "SRE_RELEASE";

/// Kinds in a chart's manifest that are waited for.
const WORKLOADS: [&str; 5] = ["Deployment", "StatefulSet", "DaemonSet", "Prometheus", "Alertmanager"];

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// It is new.
    New,
    /// It was upgraded.
    Upgraded,
    /// Chart and values are those of the last time: nothing was done.
    Unchanged,
}

/// Helm, for one cluster.
#[derive(Debug, Clone)]
pub struct Helm {
    program: String,
    version: String,
    connection: Vec<String>,
    context: String,
    kube_version: Option<String>,
    interrupt: Interrupt,
}

impl Helm {
    /// Finds helm under this name on PATH; missing or too old is a prerequisite that is missing (exit 5).
    pub async fn find(program: &str, cluster: &Cluster, interrupt: &Interrupt) -> Result<Helm> {
        let mut helm = Helm::offline(program, interrupt).await?;
        helm.connection = vec!["--kube-context".to_owned(), cluster.context().to_owned()];
        if let Some(path) = cluster.kubeconfig() {
            helm.connection.extend(["--kubeconfig".to_owned(), path.display().to_string()]);
        }
        helm.context = cluster.context().to_owned();
        helm.kube_version = Some(cluster.version().to_owned());
        Ok(helm)
    }

    /// As [`Helm::find`], for what needs no cluster: getting charts and rendering them.
    pub async fn offline(program: &str, interrupt: &Interrupt) -> Result<Helm> {
        let version = Helm::version_of(program, interrupt).await?;
        Ok(Helm {
            program: program.into(),
            version,
            connection: Vec::new(),
            context: String::new(),
            kube_version: None,
            interrupt: interrupt.clone(),
        })
    }

    /// The version of the helm of this name: `v4.3.1`. Missing or too old is a prerequisite that is missing (exit 5).
    pub async fn version_of(program: &str, interrupt: &Interrupt) -> Result<String> {
        let ask = Program::new(program, ["version", "--template", "{{.Version}}"]);
        let version = succeed("`helm version` failed", ask.run(interrupt, |_| ()).await?)?;
        let version = version.trim().to_owned();
        if major(&version).is_none_or(|major| !(3..=4).contains(&major)) {
            return Err(Error::prerequisite(format!("helm is {version}; versions 3 and 4 are supported")));
        }
        Ok(version)
    }

    /// Its version: `v4.3.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Installs or upgrades a release; its namespace is there. Returns when its objects are written, not when
    /// they are ready. What an interrupted helm left is mended first; `say` is told of it.
    pub async fn upgrade(&self, release: &Release, say: &(dyn Fn(&str) + Sync)) -> Result<Installed> {
        orphan::end(MARK, &self.mark(&release.namespace, &release.name)).await?;
        let fingerprint = fingerprint(release)?;
        let history = self.history(release).await?;
        match recovery(&history) {
            Recovery::None => {}
            Recovery::Uninstall => {
                say(&format!("release {} was left half-installed; removing it first", release.name));
                self.uninstall(&release.namespace, &release.name).await?;
            }
            Recovery::RollBack(revision) => {
                say(&format!(
                    "release {} was left half-upgraded; back to revision {revision} first",
                    release.name
                ));
                self.roll_back(release, revision).await?;
            }
        }
        let last = history.iter().max_by_key(|revision| revision.revision);
        if last.is_some_and(|last| last.status == "deployed" && last.description == fingerprint) {
            return Ok(Installed::Unchanged);
        }
        let finished = self.install(release, &fingerprint, &[]).await?;
        let finished =
            if finished.stderr.contains("conflict") && major(&self.version) == Some(4) && !finished.success()
            {
                say(&format!("release {}: others changed its objects; its values win", release.name));
                self.install(release, &fingerprint, &["--force-conflicts"]).await?
            } else {
                finished
            };
        succeed(&format!("release {} could not be installed", release.name), finished)?;
        Ok(if last.is_some() { Installed::Upgraded } else { Installed::New })
    }

    /// Brings back objects of a release that somebody deleted: upgrades it to what it is.
    pub async fn restore(&self, release: &Release) -> Result<()> {
        let finished = self.install(release, &fingerprint(release)?, &[]).await?;
        succeed(&format!("release {} could not be restored", release.name), finished).map(|_| ())
    }

    async fn install(&self, release: &Release, fingerprint: &str, more: &[&str]) -> Result<Finished> {
        let what = ["upgrade", "--install", &release.name, &release.chart];
        self.marked(&release.namespace, &release.name, what)
            .arguments(source(release))
            .arguments(["--values", "-", "--history-max", HISTORY, "--description", fingerprint])
            .arguments(more)
            .input(release.values.to_string())
            .run(&self.interrupt, |_| ())
            .await
    }

    async fn roll_back(&self, release: &Release, revision: u64) -> Result<()> {
        let revision = revision.to_string();
        let finished = self
            .marked(&release.namespace, &release.name, ["rollback", &release.name, &revision])
            .run(&self.interrupt, |_| ())
            .await?;
        succeed(&format!("release {} could not be rolled back", release.name), finished).map(|_| ())
    }

    /// The release's revisions; none, if there is no such release.
    pub async fn history(&self, release: &Release) -> Result<Vec<Revision>> {
        let finished = self
            .helm(["history", &release.name, "--namespace", &release.namespace, "--output", "json"])
            .arguments(&self.connection)
            .run(&self.interrupt, |_| ())
            .await?;
        if !finished.success() && finished.stderr.contains("release: not found") {
            return Ok(Vec::new());
        }
        let what = format!("the history of release {} could not be read", release.name);
        let json = succeed(&what, finished)?;
        serde_json::from_str(&json).map_err(|e| Error::target(what).because(e))
    }

    /// The objects that a release's manifest names; those that name no namespace are said to be in the release's.
    pub async fn objects(&self, namespace: &str, name: &str) -> Result<Vec<ObjectRef>> {
        let finished = self
            .helm(["get", "manifest", name, "--namespace", namespace])
            .arguments(&self.connection)
            .run(&self.interrupt, |_| ())
            .await?;
        let text = succeed(&format!("the manifest of release {name} could not be read"), finished)?;
        let objects = read_objects(&format!("the manifest of release {name}"), &text)?;
        Ok(objects
            .iter()
            .map(ObjectRef::of)
            .map(|mut object| {
                object.namespace.get_or_insert_with(|| namespace.to_owned());
                object
            })
            .collect())
    }

    /// The workloads among them, to be waited for.
    pub async fn workloads(&self, namespace: &str, name: &str) -> Result<Vec<ObjectRef>> {
        let mut objects = self.objects(namespace, name).await?;
        objects.retain(is_workload);
        Ok(objects)
    }

    /// What ends helm early.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Gets a release's chart, as a `.tgz`, into a folder.
    ///
    /// # Errors
    /// A prerequisite (exit 5): the repository cannot be reached, or has no such chart.
    pub async fn pull(&self, release: &Release, folder: &Path) -> Result<()> {
        let destination = folder.display().to_string();
        let finished = self
            .helm(["pull", &release.chart, "--destination", &destination])
            .arguments(source(release))
            .run(&self.interrupt, |_| ())
            .await?;
        let what = format!("the chart {} cannot be got", release.chart);
        succeed(&what, finished).map(|_| ()).map_err(|error| {
            let from = release.repository.as_deref().unwrap_or("its registry");
            error.causes().iter().fold(Error::prerequisite(format!("{what} from {from}")), |error, cause| {
                error.because_of(cause)
            })
            .hint("without internet: `sre mirror fill DIR` where there is, and export SRE_MIRROR=file://DIR here")
        })
    }

    /// What a release would install, as YAML documents; asks the cluster nothing.
    pub async fn template(&self, release: &Release) -> Result<String> {
        let finished = self
            .helm(["template", &release.name, &release.chart, "--namespace", &release.namespace])
            .arguments(source(release))
            .arguments(["--values", "-", "--include-crds"])
            .arguments(self.kube_version.iter().flat_map(|version| ["--kube-version", version]))
            .input(release.values.to_string())
            .run(&self.interrupt, |_| ())
            .await?;
        succeed(&format!("release {} could not be rendered", release.name), finished)
    }

    /// Uninstalls a release, and waits until its objects are gone. One that is not there is fine. What a killed `sre`
    /// left at work on it is ended first.
    pub async fn uninstall(&self, namespace: &str, name: &str) -> Result<()> {
        orphan::end(MARK, &self.mark(namespace, name)).await?;
        let finished = self
            .marked(namespace, name, ["uninstall", name, "--wait", "--timeout", "2m"])
            .run(&self.interrupt, |_| ())
            .await?;
        if !finished.success() && finished.stderr.contains("not found") {
            return Ok(());
        }
        succeed(&format!("release {name} could not be uninstalled"), finished).map(|_| ())
    }

    fn helm<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Program {
        Program::new(&self.program, arguments).environment("HELM_DRIVER", "secret")
    }

    /// A helm that changes a release: should it outlive this process, the next one finds it.
    fn marked<'a>(
        &self,
        namespace: &str,
        name: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Program {
        self.helm(arguments)
            .arguments(["--namespace", namespace])
            .arguments(&self.connection)
            .environment(MARK, &self.mark(namespace, name))
            .environment(orphan::PARENT, &std::process::id().to_string())
    }

    fn mark(&self, namespace: &str, name: &str) -> String {
        format!("{}/{namespace}/{name}", self.context)
    }
}

/// Whether an object of a release is waited for.
pub fn is_workload(object: &ObjectRef) -> bool {
    WORKLOADS.contains(&object.kind.as_str())
}

/// Where the chart comes from, as arguments.
fn source(release: &Release) -> Vec<String> {
    let repository = release.repository.iter().flat_map(|url| ["--repo".to_owned(), url.clone()]);
    let version = release.version.iter().flat_map(|version| ["--version".to_owned(), version.clone()]);
    // Helm warns of a version that a folder does not need.
    if Path::new(&release.chart).exists() { Vec::new() } else { repository.chain(version).collect() }
}

fn major(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}

/// The stdout of a program that succeeded; an error with its own last words otherwise.
fn succeed(what: &str, finished: Finished) -> Result<String> {
    if finished.success() {
        return Ok(finished.stdout);
    }
    // client-go's warnings stand on stderr, too.
    let words: Vec<&str> = finished
        .stderr
        .lines()
        .filter(|line| {
            !line.trim().is_empty() && !line.contains("warnings.go") && !line.starts_with("level=")
        })
        .collect();
    let words = words.join("\n");
    Err(Error::target(what).because_of(words.strip_prefix("Error: ").unwrap_or(&words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A helm that tells what it was asked and how it is marked.
    const TELLS: &str = "#!/bin/sh
case $1 in
version) echo v4.0.0 ;;
*) echo \"$1 $SRE_RELEASE $SRE_PARENT\" >>\"$0.asked\" ;;
esac
";

    #[tokio::test]
    async fn an_uninstall_ends_what_was_left_at_work_and_can_be_found_itself() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("helm");
        // Written by another process: one that another test forks meanwhile must not hold it open.
        let write = "cat >\"$0\" && chmod +x \"$0\"";
        duct::cmd!("sh", "-c", write, &program).stdin_bytes(TELLS).run().unwrap();
        let helm = Helm::offline(program.to_str().unwrap(), &Interrupt::default()).await.unwrap();

        let namespace = uuid::Uuid::new_v4().to_string();
        let mark = format!("/{namespace}/web");
        let orphan = duct::cmd!("sleep", "60").env(MARK, &mark).env(orphan::PARENT, "1").unchecked();
        let orphan = orphan.start().unwrap();
        let ended = std::thread::spawn(move || orphan.wait().map(|output| output.status.code()).unwrap());
        helm.uninstall(&namespace, "web").await.unwrap();
        assert!(ended.is_finished(), "it was left at work");
        assert_eq!(ended.join().unwrap(), None, "a signal ended it");
        let asked = std::fs::read_to_string(folder.path().join("helm.asked")).unwrap();
        assert_eq!(asked, format!("uninstall {mark} {}\n", std::process::id()));
    }
}
