//! What a stack has no more.

use crate::error::Result;
use crate::target::kubernetes::claims::Claims;
use crate::target::kubernetes::down;
use crate::target::kubernetes::execute::{Execution, locate};
use crate::target::kubernetes::plan::{Action, Plan};
use crate::target::kubernetes::record::Done;
use crate::terminal::Terminal;

/// Takes down what an earlier `up` brought and the plan does not have any more. Where data goes with it, it asks first.
///
/// # Errors
/// 5 where consent is not given to lose data, 6 where something could not be removed: the next `up` or `down` goes on.
pub(super) async fn prune(plan: &Plan, execution: &Execution<'_>, terminal: &Terminal) -> Result<()> {
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
    let mut stale = execution.book.done();
    stale.retain(|done| matches!(done, Done::Object(_) | Done::Release { .. }) && !wanted.contains(done));
    if stale.is_empty() {
        return Ok(());
    }
    let claims = Claims::of(execution.cluster, &stale).await?;
    if !claims.lost.is_empty() {
        let question = format!(
            "the stack has these no more, and their data will be lost on context `{}`:\n{}",
            execution.cluster.context(),
            claims.losses().join("\n")
        );
        terminal.consent(&question, execution.interrupt).await?;
    }
    for done in stale.iter().rev() {
        execution.note_configured();
        down::undo(execution.cluster, execution.helm.as_ref(), done).await?;
        execution.book.forget(done)?;
        execution.progress.done("removed", &down::describe(done));
    }
    if let Some(told) = claims.told() {
        execution.progress.say(&told);
    }
    Ok(())
}
