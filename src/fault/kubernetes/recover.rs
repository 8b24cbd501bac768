//! Undoing what somebody left behind on a cluster: from the annotations alone, on any machine.

use std::time::Instant;

use jiff::Timestamp;

use super::confine::{concerns, confine, in_time};
use super::find::{Found as OnObject, scan};
use super::guard::{GRACE, sweep};
use super::record::Record;
use super::{SETTLED, relieve, settle, undo};
use crate::error::{Error, Result};
use crate::fault::{Finding, Found};
use crate::interrupt::Interrupt;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::object::ObjectRef;

/// Undoes every fault on a namespace's objects (on all, if none is named) and on nodes whose `sre` is gone, or whose
/// time is over; with `force`, every one; then waits until what was ready before them is so again. What could not be
/// looked at comes second.
///
/// # Errors
/// The target (exit 6) where the cluster does not answer.
pub async fn recover(
    cluster: &Cluster,
    namespace: Option<&str>,
    force: bool,
    interrupt: &Interrupt,
) -> Result<(Vec<Finding>, Vec<String>)> {
    let (found, mut unseen) = scan(cluster, namespace).await?;
    // Another machine's clock set the time, so that the API server's is the one to ask.
    let now = match found.is_empty() {
        true => None,
        false => cluster.time().await?,
    };
    let now = now.unwrap_or_else(Timestamp::now);
    let mut findings = Vec::new();
    let mut undone = Vec::new();
    for OnObject { on, record } in found {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                findings.push(Finding {
                    id: on.to_string(),
                    fault: format!("a fault on {on}"),
                    owner: None,
                    host: None,
                    found: Found::Failed,
                    error: Some(error.hint("put the object right, and remove the annotation").to_string()),
                });
                continue;
            }
        };
        if let Err(error) = confine(&on, &record) {
            // Not even its words are repeated.
            findings.push(strange(&on, &error));
            continue;
        }
        if !force && !is_left_behind(&record, now) {
            findings.push(match in_time(&on, &record, now) {
                Ok(()) => finding(&record, Found::Held, None),
                Err(error) => strange(&on, &error),
            });
            continue;
        }
        let undoing = async {
            undo(cluster, &on, &record).await?;
            relieve(cluster, &on, &record).await
        };
        match undoing.await {
            Ok(()) => undone.push((on, record)),
            Err(error) => findings.push(finding(&record, Found::Failed, Some(error.to_string()))),
        }
    }
    // Only now: what is undone first need not wait for what is undone last.
    let started = Instant::now();
    for (on, mut record) in undone {
        record.ready.retain(|ready| concerns(&on, ready, namespace));
        // Together they have the time of one.
        let left = SETTLED.saturating_sub(started.elapsed());
        findings.push(match interrupt.or(settle(cluster, &record, left)).await {
            // Who has interrupted it does not wait for what gets ready by itself.
            Ok(Ok(())) | Err(_) => finding(&record, Found::Healed, None),
            Ok(Err(error)) => finding(&record, Found::Unsettled, Some(error.to_string())),
        });
    }
    // What is left of guards harms nobody.
    unseen.extend(sweep(cluster).await.err().map(|error| error.to_string()));
    Ok((findings, unseen))
}

/// Whether nobody is there any more who would undo it: its process is gone, or its time is over.
fn is_left_behind(record: &Record, now: Timestamp) -> bool {
    record.by.is_gone() || now > record.until + GRACE
}

/// What is told of a record that no `sre` wrote.
fn strange(on: &ObjectRef, error: &Error) -> Finding {
    Finding {
        id: on.to_string(),
        fault: format!("a fault on {on}"),
        owner: None,
        host: None,
        found: Found::Strange,
        error: Some(error.to_string()),
    }
}

fn finding(record: &Record, found: Found, error: Option<String>) -> Finding {
    Finding {
        id: record.id.clone(),
        fault: record.fault.clone(),
        owner: Some(record.by.pid),
        host: Some(record.by.host.clone()),
        found,
        error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::bodies::{labels, name};
    use super::super::record::{ANNOTATION, Effect, Ready};
    use super::*;
    use crate::target::kubernetes::fake::Fake;

    /// A node that was cordoned, by a fault whose time is over.
    fn cordoned() -> Value {
        let path = "/spec/unschedulable".to_owned();
        let set = Effect::Set { path, before: None, after: Some(json!(true)) };
        let mut record = Record::new("one", "cordon on Node worker", Timestamp::UNIX_EPOCH, vec![set]);
        record.ready = vec![Ready { object: ObjectRef::of_node("worker"), count: 1 }];
        let mut node = node(json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]));
        node["spec"]["unschedulable"] = json!(true);
        node["metadata"]["annotations"] = json!({ANNOTATION: record.annotation()});
        node
    }

    fn node(taints: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker"}, "spec": {"taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    #[tokio::test]
    async fn what_was_ready_is_so_again_when_it_is_told_to_be_healed() {
        let fake = Fake::new(&[cordoned()]).await;
        fake.put_soon(node(json!([])));
        let recovered = recover(&fake.cluster, None, false, &Interrupt::default()).await;
        let (findings, unseen) = recovered.expect("it answers");
        assert_eq!(unseen, Vec::<String>::new());
        assert_eq!(findings.iter().map(|one| one.found).collect::<Vec<_>>(), [Found::Healed], "{findings:?}");
        assert_eq!(fake.get("nodes/worker").expect("the node")["spec"]["taints"], json!([]));
    }

    #[tokio::test]
    async fn who_interrupts_it_does_not_wait_for_what_gets_ready_by_itself() {
        let fake = Fake::new(&[cordoned()]).await;
        let interrupt = Interrupt::default();
        interrupt.trigger(crate::exit::Exit::Interrupted);
        let (findings, _) = recover(&fake.cluster, None, false, &interrupt).await.expect("it answers");
        assert_eq!(findings[0].found, Found::Healed);
        assert_eq!(fake.get("nodes/worker").expect("the node")["spec"]["unschedulable"], Value::Null);
    }

    #[tokio::test]
    async fn what_no_sre_writes_is_told_and_left_and_is_no_fault() {
        let far = Timestamp::now() + jiff::SignedDuration::from_hours(1000);
        let elsewhere = Effect::Create {
            object: ObjectRef {
                namespace: Some("elsewhere".into()),
                ..super::super::guard::reference("one", "x")
            },
            body: None,
        };
        let strange = [(far, Vec::new()), (Timestamp::UNIX_EPOCH, vec![elsewhere])];
        for (until, effects) in strange {
            let mut record = Record::new("one", "scale-to-zero", until, effects);
            record.by.host = "another-machine".into();
            let annotations = json!({ANNOTATION: record.annotation()});
            let service = json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "shop", "annotations": annotations}});
            let fake = Fake::new(&[service]).await;
            let (findings, _) =
                recover(&fake.cluster, None, false, &Interrupt::default()).await.expect("it answers");
            assert_eq!(findings.iter().map(|one| one.found).collect::<Vec<_>>(), [Found::Strange]);
            assert_eq!(fake.done(), []);
            let lab = fake.lab().cluster.expect("a cluster");
            let terminal = crate::terminal::Terminal::silent(true);
            crate::fault::ensure_none_on(&lab, &terminal, &Interrupt::default())
                .await
                .expect("it is no fault");
        }
    }

    #[tokio::test]
    async fn another_machines_clock_is_the_api_servers() {
        let mut node = cordoned();
        let now = Timestamp::now();
        let until = now + jiff::SignedDuration::from_secs(60);
        let mut record = Record::read(node["metadata"]["annotations"][ANNOTATION].as_str().expect("a text"))
            .expect("a record");
        record.by.host = "another-machine".into();
        record.until = until;
        node["metadata"]["annotations"] = json!({ANNOTATION: record.annotation()});
        let fake = Fake::new(&[node]).await;
        let found = async || {
            let interrupt = Interrupt::default();
            interrupt.trigger(crate::exit::Exit::Interrupted);
            recover(&fake.cluster, None, false, &interrupt).await.expect("it answers").0[0].found
        };
        fake.set_time(now);
        assert_eq!(found().await, Found::Held);
        fake.set_time(until + jiff::SignedDuration::from_secs(30));
        assert_eq!(found().await, Found::Healed);
    }

    #[tokio::test]
    async fn rights_of_guards_that_are_gone_are_removed_and_others_are_not() {
        let labelled = |version: &str, kind: &str, id: &str, namespace: Value| {
            json!({"apiVersion": version, "kind": kind, "metadata": {
                "name": name(id), "namespace": namespace, "labels": labels(id),
            }})
        };
        let rbac = "rbac.authorization.k8s.io/v1";
        let mut objects = vec![labelled("batch/v1", "Job", "there", json!("shop"))];
        for kind in ["ClusterRole", "ClusterRoleBinding"] {
            objects.extend(["there", "gone"].map(|id| labelled(rbac, kind, id, Value::Null)));
            objects.push(json!({"apiVersion": rbac, "kind": kind, "metadata": {"name": "somebodys"}}));
        }
        let fake = Fake::new(&objects).await;
        let (findings, unseen) =
            recover(&fake.cluster, None, false, &Interrupt::default()).await.expect("it answers");
        assert_eq!((findings, unseen), (Vec::new(), Vec::new()));
        for plural in ["clusterroles", "clusterrolebindings"] {
            let is_there = |name: &str| fake.get(&format!("{plural}/{name}")).is_some();
            assert!(
                !is_there(&name("gone")) && is_there(&name("there")) && is_there("somebodys"),
                "{plural}"
            );
        }
    }
}
