//! The order of steps: each after what it needs.

use super::{Action, Plan, Step};
use crate::config::nearest;
use crate::error::{Error, Result};
use crate::scenario::Duration;

/// A step whose needs are names still.
pub(super) struct Draft {
    name: String,
    needs: Vec<String>,
    wait: Duration,
    action: Action,
}

impl Draft {
    pub(super) fn new(name: &str, needs: &[String], wait: Duration, action: Action) -> Draft {
        Draft { name: name.into(), needs: needs.to_vec(), wait, action }
    }
}

/// Puts each step after what it needs; otherwise the order of declaration stays.
pub(super) fn order(drafts: Vec<Draft>) -> Result<Plan> {
    for (i, draft) in drafts.iter().enumerate() {
        if !is_label(&draft.name) {
            return Err(Error::usage(format!("`{}` is no name of a step", draft.name.escape_debug()))
                .because_of("it becomes the name of a release or a file: small letters, digits and `-`, 63 at the most"));
        }
        if drafts[..i].iter().any(|earlier| earlier.name == draft.name) {
            return Err(Error::usage(format!("two steps of the stack are named `{}`", draft.name))
                .hint("`needs` could not tell them apart; rename one"));
        }
        for need in &draft.needs {
            if !drafts.iter().any(|other| other.name == *need) {
                let error =
                    Error::usage(format!("`{}` needs `{need}`, which is no step of the stack", draft.name));
                return Err(match nearest(need, drafts.iter().map(|d| d.name.as_str())) {
                    Some(name) => error.hint(format!("did you mean `{name}`?")),
                    None => error,
                });
            }
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut left = drafts;
    while !left.is_empty() {
        let placed = |name: &String| steps.iter().position(|step| step.name == *name);
        let next = left.iter().position(|draft| draft.needs.iter().all(|need| placed(need).is_some()));
        let Some(next) = next else {
            return Err(Error::usage(format!("steps need each other: {}", cycle(&left))));
        };
        let needs = left[next].needs.iter().filter_map(placed).collect();
        let Draft { name, wait, action, .. } = left.remove(next);
        steps.push(Step { name, action, needs, wait, left: Vec::new() });
    }
    Ok(Plan { steps })
}

/// Whether a name is a DNS label, as Kubernetes has them.
fn is_label(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('-') && !name.ends_with('-')
}

/// One cycle among drafts that each need another of them: `a → b → a`.
fn cycle(drafts: &[Draft]) -> String {
    let mut path: Vec<&str> = Vec::new();
    let mut at = drafts.first();
    while let Some(draft) = at {
        if let Some(start) = path.iter().position(|name| *name == draft.name) {
            path.drain(..start);
            path.push(&draft.name);
            break;
        }
        path.push(&draft.name);
        at = drafts.iter().find(|other| draft.needs.contains(&other.name));
    }
    path.join(" → ")
}
