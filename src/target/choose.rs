//! Which target a command is for.

use super::TargetKind;
use crate::error::{Error, Result};
use crate::stack::Stack;

/// A target, and why it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The target.
    pub target: TargetKind,
    /// Why, as the end of a sentence: `up here`.
    pub because: &'static str,
}

/// Chooses: what was asked for (`--target`, `SRE_TARGET`), else what is up here, else minikube where
/// it is installed, else local. Exit 2 if what was asked for is not what is up here.
pub fn choose(asked: Option<TargetKind>, here: Option<TargetKind>, minikube: bool) -> Result<Choice> {
    match (asked, here) {
        (Some(asked), Some(here)) if asked != here => {
            Err(Error::usage(format!("the target {here} is up here"))
                .because_of(format!("{asked} was asked for, and a folder holds one lab"))
                .hint(format!("sre down --target {here}, or work in another folder")))
        }
        (Some(target), _) => Ok(Choice { target, because: "asked for" }),
        (None, Some(target)) => Ok(Choice { target, because: "up here" }),
        (None, None) if minikube => {
            Ok(Choice { target: TargetKind::Minikube, because: "minikube is installed" })
        }
        (None, None) => Ok(Choice { target: TargetKind::Local, because: "no other is set up" }),
    }
}

/// The targets that a stack can run on, as what to do next; `None` where it has none.
pub fn where_it_runs(stack: &Stack) -> Option<&'static str> {
    match (&stack.local, &stack.external, &stack.cluster) {
        (Some(_), _, Some(_)) => {
            Some("--target local, or --target cluster --context NAME, or --target minikube")
        }
        (Some(_), ..) => Some("--target local"),
        (None, Some(_), _) => Some("--target external: it says where it runs already"),
        (None, None, Some(_)) => Some("--target cluster --context NAME, or --target minikube"),
        (None, None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_for_then_up_here_then_minikube_then_local() {
        let chosen = |asked, here, minikube| choose(asked, here, minikube).ok().map(|choice| choice.target);
        use TargetKind::{External, Local, Minikube};
        assert_eq!(chosen(Some(External), None, true), Some(External));
        assert_eq!(chosen(Some(Local), Some(Local), true), Some(Local));
        assert_eq!(chosen(None, Some(External), true), Some(External));
        assert_eq!(chosen(None, None, true), Some(Minikube));
        assert_eq!(chosen(None, None, false), Some(Local));
    }

    #[test]
    fn another_target_than_the_one_up_here_is_refused() {
        let error =
            choose(Some(TargetKind::Cluster), Some(TargetKind::Local), false).expect_err("one lab a folder");
        assert_eq!(error.exit(), crate::exit::Exit::Usage);
        assert!(error.to_string().contains("the target local is up here"), "{error}");
    }
}
