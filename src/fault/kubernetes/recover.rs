//! Undoing what somebody left behind on a cluster: from the annotations alone, on any machine.

use jiff::Timestamp;

use super::find::{Found as OnObject, scan};
use super::guard::GRACE;
use super::record::Record;
use super::{relieve, undo};
use crate::error::Result;
use crate::fault::{Finding, Found};
use crate::target::kubernetes::client::Cluster;

/// Undoes every fault on a namespace's objects (on all, if none is named) and on nodes whose `sre` is gone, or whose
/// time is over; with `force`, every one. What could not be looked at comes second.
///
/// # Errors
/// The target (exit 6) where the cluster does not answer.
pub async fn recover(
    cluster: &Cluster,
    namespace: Option<&str>,
    force: bool,
) -> Result<(Vec<Finding>, Vec<String>)> {
    let (found, unseen) = scan(cluster, namespace).await?;
    let mut findings = Vec::new();
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
        if !force && !is_left_behind(&record) {
            findings.push(finding(&record, Found::Held, None));
            continue;
        }
        let undone = async {
            undo(cluster, &on, &record).await?;
            relieve(cluster, &on, &record).await
        };
        findings.push(match undone.await {
            Ok(()) => finding(&record, Found::Healed, None),
            Err(error) => finding(&record, Found::Failed, Some(error.to_string())),
        });
    }
    Ok((findings, unseen))
}

/// Whether nobody is there any more who would undo it: its process is gone, or its time is over.
fn is_left_behind(record: &Record) -> bool {
    record.by.is_gone() || Timestamp::now() > record.until + GRACE
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
