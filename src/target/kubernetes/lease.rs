//! Who is at work on a lab on a cluster, from whatever machine: a Lease in the lab's namespace, renewed while its
//! `sre` lives.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as Object;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::client::Cluster;
use super::failure::{call_opt, failed, retry, status};
use super::object::{MANAGED_BY, MANAGER};
use crate::error::{Error, Result};
use crate::fault::kubernetes::Owner;
use crate::interrupt::Interrupt;
use crate::target::busy::Work;
use crate::terminal::Terminal;

/// The Lease's name: one lab a namespace.
const NAME: &str = "sre-lab";
/// Who holds it, with what is needed to know whether that is gone.
const HOLDER: &str = "sre.dev/holder";
/// A Lease that was not renewed for so long has no holder any more.
const LASTS: Duration = Duration::from_secs(30);
/// How often it is renewed, and looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Holds a lab's Lease until it is released; a killed `sre` renews it no more.
#[derive(Debug)]
pub struct Lease {
    api: Api<Object>,
    uid: Option<String>,
    renewing: JoinHandle<()>,
}

/// Who holds a Lease, as its annotation says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// What it does.
    work: Work,
    /// The command: `sre run outage`.
    command: String,
    /// Its process.
    by: Owner,
    /// Since when.
    since: Timestamp,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever may annotate the Lease has written it.
        let shown = |text: &str| {
            text.chars().filter(|character| !character.is_control()).take(80).collect::<String>()
        };
        let (command, host) = (shown(&self.command), shown(&self.by.host));
        write!(
            f,
            "`{command}` (pid {} on {host}, since {})",
            self.by.pid,
            self.since.strftime("%H:%M:%S UTC")
        )
    }
}

/// Takes the Lease of the lab in a namespace for some work; `command` is what others will be told. With `queue` others
/// are waited for. `None` where the namespace is gone, or where this user may not make a Lease, which is told.
///
/// # Errors
/// The target (exit 6) where somebody else holds it, or the cluster does not answer; interrupted (129 to 143).
pub async fn take(
    cluster: &Cluster,
    namespace: &str,
    (work, command): (Work, &str),
    queue: bool,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Option<Lease>> {
    let api: Api<Object> = Api::namespaced(cluster.client(), namespace);
    let holder = Holder { work, command: command.into(), by: Owner::this(), since: Timestamp::now() };
    let mut told = false;
    loop {
        let held = match interrupt.or(attempt(&api, namespace, &holder)).await?? {
            Attempt::Taken(object) => return Ok(Some(Lease::renewed(api, *object))),
            Attempt::Forbidden => {
                terminal.warn(format!(
                    "you may not make a Lease in {namespace}: nobody is kept from using this lab at the same time"
                ));
                return Ok(None);
            }
            Attempt::NoNamespace => return Ok(None),
            Attempt::Held(held) => *held,
        };
        let name = held.holder().map_or("another sre".to_owned(), |holder| holder.to_string());
        if !queue && held.holder().is_some_and(|holder| holder.by.is_known_to_live()) {
            return Err(refused(&name));
        }
        if !told {
            terminal.say(format!("waiting for {name}; if it is gone, {} s", LASTS.as_secs()));
            told = true;
        }
        // On no clock but this one: machines' clocks differ.
        if interrupt.or(is_abandoned(&api, &held)).await?? {
            continue;
        }
        if !queue {
            return Err(refused(&name));
        }
    }
}

/// Holds that nobody is at work who must not be disturbed by some work that takes no Lease itself.
///
/// # Errors
/// The target (exit 6) where somebody is.
pub async fn refuse_beside(cluster: &Cluster, namespace: &str, work: Work) -> Result<()> {
    let api: Api<Object> = Api::namespaced(cluster.client(), namespace);
    // Who may not read a Lease has none to heed.
    let Ok(Some(found)) = retry(|| api.get_opt(NAME)).await else { return Ok(()) };
    let held = Held(found);
    match held.holder() {
        Some(holder) if holder.work.bars(work) && !holder.by.is_gone() => {
            match !holder.by.is_known_to_live() && is_abandoned(&api, &held).await? {
                true => Ok(()),
                false => Err(refused(&holder.to_string())),
            }
        }
        _ => Ok(()),
    }
}

fn refused(name: &str) -> Error {
    Error::target(format!("{name} is at work on this lab"))
        .because_of("each would see what the other does, and take it for its own")
        .hint("--queue waits until it is done; or end it")
}

/// A Lease that somebody holds, as it was read.
#[derive(Debug, Clone)]
struct Held(Object);

enum Attempt {
    Taken(Box<Object>),
    Held(Box<Held>),
    Forbidden,
    NoNamespace,
}

/// Whether an object cannot be made because its namespace is gone or going: then no lab is there to be kept.
fn has_no_namespace(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 404 || causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

impl Held {
    fn holder(&self) -> Option<Holder> {
        serde_json::from_str(self.0.metadata.annotations.as_ref()?.get(HOLDER)?).ok()
    }

    fn version(&self) -> Option<&str> {
        self.0.metadata.resource_version.as_deref()
    }
}

/// Makes the Lease, or takes the place of a holder who is known to be gone.
async fn attempt(api: &Api<Object>, namespace: &str, holder: &Holder) -> Result<Attempt> {
    let what = || format!("Lease {namespace}/{NAME} could not be taken");
    let body: Object =
        serde_json::from_value(body(namespace, holder)).map_err(|e| Error::target(what()).because(e))?;
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    loop {
        match retry(|| api.create(&params, &body)).await {
            Ok(made) => return Ok(Attempt::Taken(Box::new(made))),
            Err(error) if has_no_namespace(&error) => return Ok(Attempt::NoNamespace),
            Err(error) if status(&error) == Some(403) => return Ok(Attempt::Forbidden),
            Err(error) if status(&error) == Some(409) => {}
            Err(error) => return Err(failed(what(), &error)),
        }
        let held = match retry(|| api.get_opt(NAME)).await {
            Ok(Some(found)) => Held(found),
            // It was released just now.
            Ok(None) => continue,
            Err(error) if status(&error) == Some(403) => return Ok(Attempt::Forbidden),
            Err(error) => return Err(failed(what(), &error)),
        };
        // The call that made it may have had no answer.
        if held.holder().as_ref() == Some(holder) {
            return Ok(Attempt::Taken(Box::new(held.0)));
        }
        if !held.holder().is_some_and(|of| of.by.is_gone()) {
            return Ok(Attempt::Held(Box::new(held)));
        }
        remove(api, &held.0).await?;
    }
}

/// Watches a Lease for as long as it lasts: `true` once it is gone, or was not renewed; then it is removed.
async fn is_abandoned(api: &Api<Object>, held: &Held) -> Result<bool> {
    let what = || format!("Lease {NAME} could not be read");
    let started = tokio::time::Instant::now();
    loop {
        let Some(now) = call_opt(what, || api.get(NAME)).await? else { return Ok(true) };
        if now.metadata.resource_version.as_deref() != held.version() {
            return Ok(false);
        }
        if started.elapsed() >= LASTS {
            remove(api, &now).await?;
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Removes this very Lease, as it was read.
async fn remove(api: &Api<Object>, lease: &Object) -> Result<()> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: lease.metadata.uid.clone(),
            resource_version: lease.metadata.resource_version.clone(),
        }),
        ..DeleteParams::default()
    };
    match retry(|| api.delete(NAME, &params)).await {
        Ok(_) => Ok(()),
        // Gone, or renewed just now: that is seen by the next look.
        Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(failed(format!("Lease {NAME} could not be removed"), &error)),
    }
}

fn body(namespace: &str, holder: &Holder) -> Value {
    let now = format!("{:.6}", Timestamp::now());
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": NAME, "namespace": namespace, "labels": {MANAGED_BY: MANAGER},
            "annotations": {HOLDER: serde_json::to_string(holder).unwrap_or_default()},
        },
        "spec": {
            "holderIdentity": format!("{} {}", holder.by.host, holder.by.pid),
            "leaseDurationSeconds": LASTS.as_secs(), "acquireTime": now, "renewTime": now,
        },
    })
}

impl Lease {
    /// Renews a Lease that was taken, until it is released or dropped.
    fn renewed(api: Api<Object>, object: Object) -> Lease {
        let uid = object.metadata.uid.clone();
        let renewing = tokio::spawn({
            let (api, uid) = (api.clone(), uid.clone());
            async move {
                loop {
                    tokio::time::sleep(EVERY).await;
                    let patch = json!([
                        {"op": "test", "path": "/metadata/uid", "value": uid},
                        {"op": "replace", "path": "/spec/renewTime", "value": format!("{:.6}", Timestamp::now())},
                    ]);
                    let Ok(patch) = serde_json::from_value(patch) else { return };
                    // One that fails is followed by another, before the Lease is over.
                    let _ = api.patch(NAME, &PatchParams::default(), &Patch::<Object>::Json(patch)).await;
                }
            }
        });
        Lease { api, uid, renewing }
    }

    /// Gives it back. What fails is made good by its end.
    pub async fn release(self) {
        self.renewing.abort();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: self.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        let _ = tokio::time::timeout(EVERY, self.api.delete(NAME, &params)).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::target::kubernetes::fake::Fake;

    async fn start(fake: &Fake, command: &str, queue: bool) -> Result<Option<Lease>> {
        let (terminal, interrupt) = (Terminal::silent(true), Interrupt::default());
        take(&fake.cluster, "shop", (Work::Run, command), queue, &terminal, &interrupt).await
    }

    fn of_another(fake: &Fake) -> Value {
        fake.get("namespaces/shop/leases/sre-lab").expect("a Lease")
    }

    #[tokio::test]
    async fn the_second_is_told_who_holds_it_until_it_is_released() {
        let fake = Fake::new(&[]).await;
        let first = start(&fake, "sre run outage", false).await.expect("free").expect("allowed");
        let refused = start(&fake, "sre down", false).await.expect_err("it is held");
        assert_eq!(refused.exit(), Exit::Target);
        assert!(refused.to_string().contains("`sre run outage` (pid "), "{refused}");
        assert_eq!(of_another(&fake)["spec"]["leaseDurationSeconds"], 30);
        first.release().await;
        let second = start(&fake, "sre down", true).await.expect("free").expect("allowed");
        second.release().await;
        assert_eq!(fake.count("Lease"), 0);
    }

    #[tokio::test]
    async fn a_lab_whose_namespace_is_gone_can_be_taken_down_all_the_same() {
        let fake = Fake::new(&[]).await;
        fake.lose_namespace("shop");
        assert!(start(&fake, "sre down", false).await.expect("no error").is_none());
    }

    #[test]
    fn a_namespace_that_is_going_is_no_lack_of_rights() {
        let error = |code: u16, details: Value| {
            let status =
                json!({"status": "Failure", "code": code, "message": "", "reason": "", "details": details});
            kube::Error::Api(Box::new(serde_json::from_value(status).expect("a status")))
        };
        let going = json!({"causes": [{"reason": "NamespaceTerminating", "message": "", "field": ""}]});
        assert!(has_no_namespace(&error(403, going)));
        assert!(has_no_namespace(&error(404, json!({}))));
        assert!(!has_no_namespace(&error(403, json!({}))));
    }

    #[tokio::test]
    async fn a_fault_by_hand_is_refused_beside_a_run_of_this_machine_at_once() {
        let fake = Fake::new(&[]).await;
        refuse_beside(&fake.cluster, "shop", Work::Fault).await.expect("nobody is at work");
        let holder =
            |work| Holder { work, command: "sre it".into(), by: Owner::this(), since: Timestamp::UNIX_EPOCH };
        fake.put(body("shop", &holder(Work::Load)));
        refuse_beside(&fake.cluster, "shop", Work::Fault).await.expect("it goes beside a load");
        fake.put(body("shop", &holder(Work::Run)));
        let refused = refuse_beside(&fake.cluster, "shop", Work::Fault).await.expect_err("a run goes on");
        assert_eq!(refused.exit(), Exit::Target);
    }

    #[tokio::test]
    async fn one_of_a_process_that_is_gone_is_taken_over_at_once() {
        let fake = Fake::new(&[]).await;
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let by = Owner { pid: child.id(), ..Owner::this() };
        child.wait().expect("it ends");
        fake.put(body(
            "shop",
            &Holder { work: Work::Run, command: "sre run".into(), by, since: Timestamp::UNIX_EPOCH },
        ));
        let taken = start(&fake, "sre down", false).await.expect("nobody holds it").expect("allowed");
        taken.release().await;
    }
}
