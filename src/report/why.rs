//! A chain as a screen: a line a link, the broken one with its reason and what mends it.

use owo_colors::OwoColorize;

use super::layout::{hint, marked, paragraph};
use crate::check::Verdict;
use crate::why::{Chain, Link, State, Whole};

/// The whole as a screen of 80 columns, with colours.
pub fn text(chain: &Chain) -> String {
    let mut lines = vec![format!("{} {}", chain.kind, chain.name.bold()), String::new()];
    lines.extend(chain.links.iter().flat_map(link));
    lines.push(String::new());
    lines.extend(paragraph(0, &end(chain)));
    lines.join("\n")
}

fn link(link: &Link) -> Vec<String> {
    let (verdict, figure) = match link.state {
        State::Ok => (Verdict::Pass, link.found.as_str()),
        State::Broken => (Verdict::Fail, ""),
        State::Unknown => (Verdict::NoData, "not known"),
    };
    let mut lines = vec![marked(0, verdict, &link.link, figure)];
    if link.state != State::Ok {
        lines.extend(paragraph(4, &link.found));
        lines.extend(link.hint.iter().flat_map(|next| hint(2, next)));
    }
    lines
}

fn end(chain: &Chain) -> String {
    let beyond = |unknown: &Option<String>| match unknown {
        Some(link) => format!("not known beyond “{link}”"),
        None => "nothing could be looked at".to_owned(),
    };
    match (chain.verdict, &chain.broken) {
        (Whole::Whole, _) => "The chain is whole.".to_owned(),
        (Whole::Broken, Some(link)) if chain.unknown.is_some() => {
            format!(
                "Broken: {link}. Of what is before it, “{}” is not known.",
                chain.unknown.as_deref().unwrap_or_default()
            )
        }
        (Whole::Broken, Some(link)) => format!("Broken: {link}."),
        (Whole::Broken | Whole::NotKnown, _) => {
            format!("No link is seen to be broken; {}.", beyond(&chain.unknown))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::plain;
    use super::*;
    use crate::why::Walk;

    #[test]
    fn a_line_a_link_and_the_broken_one_with_what_mends_it() {
        let mut walk = Walk::default();
        walk.ok("Prometheus answers", "3.15.0");
        walk.unknown("its configuration is loaded", "status 404 for /api/v1/status/runtimeinfo");
        walk.broken(
            "a target exposes it",
            "127.0.0.1:8080 exposes 24 metrics, none of this name.",
            "Did you mean `b_total`?",
        );
        insta::assert_snapshot!(plain(&text(&walk.chain("metric", "a_total"))), @r"
        metric a_total

        ✔ Prometheus answers                                                      3.15.0
        ? its configuration is loaded                                          not known
            status 404 for /api/v1/status/runtimeinfo
        ✘ a target exposes it
            127.0.0.1:8080 exposes 24 metrics, none of this name.
          → Did you mean `b_total`?

        Broken: a target exposes it. Of what is before it, “its configuration is loaded”
        is not known.
        ");
        let mut walk = Walk::default();
        walk.ok("the file holds the line", "users-api-0.log");
        assert!(text(&walk.chain("line", "x")).ends_with("The chain is whole."));
    }
}
