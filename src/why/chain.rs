//! A chain: links in their order, each as it was found. The first broken one is the answer. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::Error;
use crate::exit::Exit;

/// The version of the document.
pub const SCHEMA: &str = "sre.why/v1";

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it must be.
    Ok,
    /// Not as it must be: nothing behind it can be seen.
    Broken,
    /// It could not be looked at.
    Unknown,
}

/// A link of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Link {
    /// What must hold: `the rule is loaded`.
    pub link: String,
    /// Whether it does.
    pub state: State,
    /// What was found, or why it could not be looked at.
    pub found: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How a chain is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Whole {
    /// Every link is as it must be.
    Whole,
    /// One is broken.
    Broken,
    /// None is seen to be broken, but not every one could be looked at.
    NotKnown,
}

/// What `sre why` tells: the links up to the first broken one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Chain {
    /// `sre.why/v1`.
    pub schema: String,
    /// What was asked about: `target`, `metric`, `alert`, `notification`, `line`.
    pub kind: String,
    /// Its name, as it was asked about.
    pub name: String,
    /// Whether the chain is whole.
    pub verdict: Whole,
    /// The link that is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
    /// The first link that could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// The links in their order; the broken one is the last.
    pub links: Vec<Link>,
}

impl Chain {
    /// The exit code that tells it to scripts.
    pub fn exit(&self) -> Exit {
        match self.verdict {
            Whole::Whole => Exit::Pass,
            Whole::Broken => Exit::CheckFailed,
            Whole::NotKnown => Exit::NoData,
        }
    }
}

/// A chain that is being walked. What comes after the broken link is not looked at.
#[derive(Debug, Default)]
pub struct Walk {
    links: Vec<Link>,
    ended: bool,
}

impl Walk {
    /// The link is as it must be.
    pub fn ok(&mut self, link: &str, found: impl Into<String>) {
        self.add(link, State::Ok, found.into(), None);
    }

    /// The link is broken: here the walk ends.
    pub fn broken(&mut self, link: &str, found: impl Into<String>, hint: impl Into<String>) {
        self.add(link, State::Broken, found.into(), Some(hint.into()));
        self.ended = true;
    }

    /// The link could not be looked at.
    pub fn unknown(&mut self, link: &str, why: impl Into<String>) {
        self.add(link, State::Unknown, why.into(), None);
    }

    /// The same, for the reason of an error.
    pub fn untold(&mut self, link: &str, error: &Error) {
        let hint = error.next_step().map(str::to_owned);
        self.add(link, State::Unknown, reason(error), hint);
    }

    /// Whether the broken link was found.
    pub fn is_over(&self) -> bool {
        self.ended
    }

    fn add(&mut self, link: &str, state: State, found: String, hint: Option<String>) {
        if !self.ended {
            self.links.push(Link { link: link.into(), state, found, hint });
        }
    }

    /// The chain.
    pub fn chain(self, kind: &str, name: &str) -> Chain {
        let first =
            |state: State| self.links.iter().find(|link| link.state == state).map(|link| link.link.clone());
        let (broken, unknown) = (first(State::Broken), first(State::Unknown));
        let verdict = match (&broken, &unknown) {
            (Some(_), _) => Whole::Broken,
            (None, Some(_)) => Whole::NotKnown,
            // A chain without links was not walked.
            (None, None) if self.links.is_empty() => Whole::NotKnown,
            (None, None) => Whole::Whole,
        };
        Chain {
            schema: SCHEMA.into(),
            kind: kind.into(),
            name: name.into(),
            verdict,
            broken,
            unknown,
            links: self.links,
        }
    }
}

/// What failed and why, in one sentence.
pub fn reason(error: &Error) -> String {
    std::iter::once(error.what())
        .chain(error.causes().iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(states: &[State]) -> Chain {
        let mut walk = Walk::default();
        for (i, state) in states.iter().enumerate() {
            let name = i.to_string();
            match state {
                State::Ok => walk.ok(&name, ""),
                State::Broken => walk.broken(&name, "", "mend it"),
                State::Unknown => walk.unknown(&name, "no access"),
            }
        }
        walk.chain("metric", "x")
    }

    #[test]
    fn the_first_broken_link_is_the_answer_and_the_last_that_is_told() {
        use State::{Broken, Ok, Unknown};
        for (states, verdict, exit, broken, unknown, told) in [
            (vec![Ok, Ok], Whole::Whole, Exit::Pass, None, None, 2),
            (vec![Ok, Broken, Ok, Broken], Whole::Broken, Exit::CheckFailed, Some("1"), None, 2),
            (vec![Ok, Unknown, Ok], Whole::NotKnown, Exit::NoData, None, Some("1"), 3),
            (vec![Unknown, Ok, Broken], Whole::Broken, Exit::CheckFailed, Some("2"), Some("0"), 3),
            (vec![], Whole::NotKnown, Exit::NoData, None, None, 0),
        ] {
            let chain = chain(&states);
            assert_eq!((chain.verdict, chain.exit()), (verdict, exit), "{states:?}");
            assert_eq!((chain.broken.as_deref(), chain.unknown.as_deref()), (broken, unknown), "{states:?}");
            assert_eq!(chain.links.len(), told, "{states:?}");
        }
    }
}
