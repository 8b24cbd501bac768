//! The step that installs or upgrades a chart's release.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Execution;
use crate::error::{Error, Result};
use crate::target::kubernetes::failure::call_opt;
use crate::target::kubernetes::gone::{gone, is_going};
use crate::target::kubernetes::helm::{Installed, is_workload};
use crate::target::kubernetes::leftover;
use crate::target::kubernetes::object::{ObjectRef, read_objects};
use crate::target::kubernetes::plan::{Release, Step};
use crate::target::kubernetes::record::Done;
use crate::target::kubernetes::release::may_be_ours;

/// How many objects of a release are looked at at the same time.
const AT_ONCE: usize = 8;

impl Execution<'_> {
    pub(super) async fn chart(&self, step: &Step, release: &Release) -> Result<String> {
        let helm = self.helm.as_ref().ok_or_else(|| Error::prerequisite("helm is missing"))?;
        self.namespace(&release.namespace).await?;
        let say = |line: &str| self.progress.say(line);
        let done = Done::Release { namespace: release.namespace.clone(), name: release.name.clone() };
        let history = helm.history(release).await?;
        // What is noted is uninstalled one day: never what somebody else installed.
        if !may_be_ours(&history) && !self.book.done().contains(&done) {
            let (name, namespace) = (&release.name, &release.namespace);
            return Err(Error::target(format!(
                "release {namespace}/{name} is there already, and is not `sre`'s"
            ))
            .hint(format!(
                "choose another namespace, rename the stack's chart, or remove that one, with its data: helm uninstall \
                 {name} --namespace {namespace}"
            )));
        }
        if history.is_empty() {
            // What helm never removes must be known before it is there.
            let text = helm.template(release).await?;
            let objects = read_objects(&format!("release {}", release.name), &text)?;
            for definition in leftover::definitions(&objects) {
                let reference = leftover::definition(&definition);
                if let Some((api, _)) = self.cluster.api(&reference, "").await? {
                    let what = || format!("{reference} could not be read");
                    if call_opt(what, || api.get(&reference.name)).await?.is_none() {
                        self.book.note(Done::Definition(definition))?;
                    }
                }
            }
            for object in leftover::of_operators(&objects) {
                self.book.note(Done::Leftover(object))?;
            }
        }
        self.book.note(done)?;
        let mut installed = helm.upgrade(release, &say).await?;
        let mut objects = helm.objects(&release.namespace, &release.name).await?;
        if installed == Installed::Unchanged && self.one_is_gone(&step.name, &objects).await? {
            helm.restore(release).await?;
            installed = Installed::Upgraded;
        }
        if installed != Installed::Unchanged {
            self.note_configured();
        }
        objects.retain(is_workload);
        self.ready(step, &objects).await?;
        Ok(match installed {
            Installed::New => "installed".into(),
            Installed::Upgraded => "upgraded".into(),
            Installed::Unchanged => "unchanged".into(),
        })
    }

    /// Whether somebody deleted one of a release's objects. One that is still on its way out is waited for: helm would
    /// change it, and it would go all the same.
    async fn one_is_gone(&self, step: &str, objects: &[ObjectRef]) -> Result<bool> {
        let all = objects.iter().map(|object| async move {
            let Some((api, _)) = self.cluster.api(object, self.namespace).await? else { return Ok(true) };
            let what = || format!("{object} could not be read");
            Ok::<_, Error>(match call_opt(what, || api.get(&object.name)).await? {
                None => true,
                Some(found) if is_going(&found) => {
                    self.progress.tell(step, &format!("{object} is being deleted still"));
                    gone(self.cluster, object).await?;
                    true
                }
                Some(_) => false,
            })
        });
        let gone: Vec<bool> = stream::iter(all).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(gone.contains(&true))
    }
}
