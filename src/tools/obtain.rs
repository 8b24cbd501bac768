//! Getting the tools that are missing: one question for all of them, then each the first way that works.

use super::release::{self, Failure};
use super::versions::{Archive, Release, platform};
use super::{Cache, Program, Tool, apt, find};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::terminal::Terminal;

/// How a missing tool can be got: each way in its turn, until one works.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tool.
    pub tool: Tool,
    release: Option<(&'static Release, &'static Archive, String)>,
    package: Option<apt::Package>,
}

impl Plan {
    /// Whether there is any way at all.
    pub fn possible(&self) -> bool {
        self.release.is_some() || self.package.is_some()
    }

    /// What would be downloaded, from where, how large: one line a way.
    pub fn ways(&self) -> Vec<String> {
        let release = self.release.iter().map(|(release, archive, address)| {
            format!(
                "{} {}, official release, {}: {address}",
                release.name,
                release.version,
                megabytes(archive.size)
            )
        });
        let package = self.package.iter().map(|package| {
            format!(
                "{} {}, the distribution's package, {}",
                package.name,
                package.version,
                megabytes(package.size)
            )
        });
        release.chain(package).collect()
    }
}

/// How a tool can be got here; asks the distribution, downloads nothing.
pub async fn plan(tool: Tool) -> Result<Plan> {
    let platform = platform();
    let mirror = release::mirror()?;
    let release = Release::of(tool).and_then(|release| {
        let archive = release.archive(&platform)?;
        Some((release, archive, release::address(release, &platform, mirror.as_ref())))
    });
    let package = match tool.package() {
        Some(name) => apt::offered(name).await,
        None => None,
    };
    Ok(Plan { tool, release, package })
}

/// Finds every tool, or gets what is missing with the user's consent. In the order of `tools`.
pub async fn require(
    tools: &[Tool],
    cache: &Cache,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Vec<Program>> {
    let mut plans = Vec::new();
    for tool in tools {
        if find(*tool, cache)?.is_none() {
            plans.push(plan(*tool).await?);
        }
    }
    if !plans.is_empty() {
        if let Some(stuck) = plans.iter().find(|plan| !plan.possible()) {
            return Err(no_way(stuck.tool, None).await);
        }
        terminal.consent(&question(&plans, cache), interrupt).await?;
        for plan in &plans {
            interrupt.or(obtain(plan, cache, terminal)).await??;
        }
    }
    tools
        .iter()
        .map(|tool| {
            find(*tool, cache)?.ok_or_else(|| Error::prerequisite(format!("{tool} was got and is not there")))
        })
        .collect()
}

fn question(plans: &[Plan], cache: &Cache) -> String {
    let mut lines = vec![format!(
        "{} missing; sre can get what it needs, into {}:",
        match plans {
            [plan] => format!("{} is", plan.tool),
            _ => format!("{} are", plans.iter().map(|plan| plan.tool.name()).collect::<Vec<_>>().join(", ")),
        },
        cache.root().display()
    )];
    let mut known: Vec<Vec<String>> = Vec::new();
    for ways in plans.iter().map(Plan::ways) {
        if !known.contains(&ways) {
            lines.push(format!("  {}", ways.join("\n    or ")));
            known.push(ways);
        }
    }
    lines.push("Nothing is installed system-wide, and no service is started.".into());
    lines.join("\n")
}

/// Gets one tool, by the first way that works.
pub async fn obtain(plan: &Plan, cache: &Cache, terminal: &Terminal) -> Result<()> {
    // A sibling's archive may have brought it already.
    if find(plan.tool, cache)?.is_some() {
        return Ok(());
    }
    let mut failed = None;
    if let Some((release, archive, address)) = &plan.release {
        terminal.say(format!("getting {} {} from {address}", release.name, release.version));
        match release::install(release, archive, &platform(), address, cache).await {
            Ok(()) => return Ok(()),
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Unreachable(error)) => failed = Some(error),
        }
    }
    if let Some(package) = &plan.package {
        if let Some(error) = &failed {
            let why = error.causes().last().map(String::as_str).unwrap_or("unknown");
            terminal.say(format!("  that did not work: {why}"));
        }
        terminal.say(format!("getting the distribution's package {} {}", package.name, package.version));
        match apt::unpack(&package.name, cache).await {
            Ok(()) => return Ok(()),
            Err(error) => failed = Some(error),
        }
    }
    Err(no_way(plan.tool, failed).await)
}

/// There is no way (left) to get a tool: what the user can do.
async fn no_way(tool: Tool, failed: Option<Error>) -> Error {
    let mut error = Error::prerequisite(format!("{tool} is missing, and cannot be got"));
    let mut hints = Vec::new();
    if let Some(failed) = failed {
        error = error.because_of(failed.what());
        for cause in failed.causes() {
            error = error.because_of(cause);
        }
        hints.extend(failed.next_step().map(str::to_owned));
    } else if let Some(package) = tool.package() {
        if apt::usable().await {
            error = error.because_of(format!("the distribution's lists have no package {package}"));
            hints.push("the package lists may be missing: sudo apt-get update".into());
        } else {
            error = error.because_of(format!("there is no pinned release for {}", platform()));
        }
    }
    hints.push(format!("or put {tool} on PATH, or name it: export {}=/path/to/{tool}", tool.variable()));
    error.hint(hints.join("\n"))
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_what_where_how_large() {
        let release = Release::of(Tool::Prometheus).expect("a release");
        let plan = |tool| Plan {
            tool,
            release: Some((
                release,
                &release.archives[0],
                "https://example.org/prometheus-3.15.0.linux-amd64.tar.gz".into(),
            )),
            package: Some(apt::Package {
                name: "prometheus".into(),
                version: "2.42.0".into(),
                size: 19_257_088,
            }),
        };
        let cache = Cache::at("/home/ada/.cache/sre/tools".into());
        insta::assert_snapshot!(question(&[plan(Tool::Prometheus), plan(Tool::Promtool)], &cache), @r"
        prometheus, promtool are missing; sre can get what it needs, into /home/ada/.cache/sre/tools:
          prometheus 3.15.0, official release, 105 MB: https://example.org/prometheus-3.15.0.linux-amd64.tar.gz
            or prometheus 2.42.0, the distribution's package, 20 MB
        Nothing is installed system-wide, and no service is started.
        ");
    }
}
