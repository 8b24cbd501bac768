//! What a stack has no more.

use crate::error::Result;
use crate::target::kubernetes::down;
use crate::target::kubernetes::execute::{Execution, locate};
use crate::target::kubernetes::plan::{Action, Plan};
use crate::target::kubernetes::record::Done;

/// Takes down what an earlier `up` brought and the plan does not have any more.
pub(super) async fn prune(plan: &Plan, execution: &Execution<'_>) -> Result<()> {
    let mut wanted = Vec::new();
    for step in &plan.steps {
        match &step.action {
            Action::Apply(objects) => {
                for object in objects {
                    wanted.push(Done::Object(locate(execution.cluster, object, execution.namespace).await?));
                }
            }
            Action::Chart(release) => wanted
                .push(Done::Release { namespace: release.namespace.clone(), name: release.name.clone() }),
            _ => {}
        }
    }
    let done = execution.book.done();
    let stale = done
        .iter()
        .rev()
        .filter(|done| matches!(done, Done::Object(_) | Done::Release { .. }) && !wanted.contains(done));
    for done in stale {
        execution.note_configured();
        down::undo(execution.cluster, execution.helm.as_ref(), done).await?;
        execution.book.forget(done)?;
        execution.progress.done("removed", &down::describe(done));
    }
    Ok(())
}
