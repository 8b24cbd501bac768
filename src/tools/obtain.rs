//! Getting the tools that are missing: one question for all of them, then all at the same time, each by the first way
//! that works.

use futures::future::join_all;

use super::apt::{self, Apt, Lists};
use super::mirror::mirror;
use super::progress::Bars;
use super::release;
use super::versions::{Archive, Release, platform};
use super::{Cache, Program, Search, Tool, find};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::terminal::Terminal;

/// How tools that come together can be got: each way in its turn, until one works.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tools.
    pub tools: Vec<Tool>,
    ways: Vec<Way>,
    /// Ways that there are not, and why.
    without: Vec<String>,
}

/// One way to get a tool.
#[derive(Debug, Clone)]
enum Way {
    /// The official release, or a mirror's copy of it.
    Release { release: &'static Release, archive: &'static Archive, address: String },
    /// The distribution's package, as the system's own lists have it.
    Package(apt::Package),
    /// The distribution's package, as lists have it that are got first.
    Refreshed(&'static str),
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Release { release, archive, address } => write!(
                f,
                "{} {}, official release, {}: {address}",
                release.name,
                release.version,
                megabytes(archive.size)
            ),
            Way::Package(package) => write!(
                f,
                "{} {}, the distribution's package, {}",
                package.name,
                package.version,
                megabytes(package.size)
            ),
            Way::Refreshed(name) => {
                write!(f, "{name}, the distribution's package, by package lists that are got first")
            }
        }
    }
}

impl Way {
    /// What it is called where it is tried: without size and address.
    fn name(&self) -> String {
        match self {
            Way::Release { release, .. } => format!("{} {}, official release", release.name, release.version),
            Way::Package(package) => {
                format!("{} {}, the distribution's package", package.name, package.version)
            }
            Way::Refreshed(name) => format!("{name}, the distribution's package by new lists"),
        }
    }
}

impl Plan {
    /// Whether there is any way at all.
    pub fn possible(&self) -> bool {
        !self.ways.is_empty()
    }

    /// What would be downloaded, from where, how large: one line a way.
    pub fn ways(&self) -> Vec<String> {
        self.ways.iter().map(Way::to_string).collect()
    }

    /// How these tools, which are in the same release and in the same package, can be got here.
    async fn of(tools: Vec<Tool>) -> Result<Plan> {
        let mut plan = Plan { tools, ways: Vec::new(), without: Vec::new() };
        let Some(tool) = plan.tools.first().copied() else { return Ok(plan) };
        let (platform, mirror) = (platform(), mirror()?);
        let pinned = Release::of(tool).and_then(|release| Some((release, release.archive(&platform)?)));
        match pinned {
            Some((release, archive)) => {
                let address = release::address(release, &platform, mirror.as_ref());
                plan.ways.push(Way::Release { release, archive, address });
            }
            None => plan.without.push(format!("no release of {tool} is pinned for {platform}")),
        }
        let Some(package) = tool.package() else {
            plan.without.push(format!("no distribution's package of {tool} is known"));
            return Ok(plan);
        };
        match apt::unusable().await {
            None => {
                plan.ways.extend(apt::offered_here(package).await.map(Way::Package));
                plan.ways.push(Way::Refreshed(package));
            }
            Some(why) => plan.without.push(format!("{package}, the distribution's package: {why}")),
        }
        Ok(plan)
    }
}

/// How a tool can be got here; asks the distribution, downloads nothing.
///
/// # Errors
/// Usage (exit 2) where `SRE_MIRROR` is no address of a mirror.
pub async fn plan(tool: Tool) -> Result<Plan> {
    Plan::of(vec![tool]).await
}

/// Finds tools at the same time, and gets what is missing of `needed` with the user's consent; what is missing of `welcome`
/// is left out.
///
/// # Errors
/// A prerequisite (exit 5): the environment names a wrong program, one is missing and no way to get it works, or consent
/// is not given. Those of an interruption.
pub async fn require(
    needed: &[Tool],
    welcome: &[Tool],
    cache: &Cache,
    terminal: &Terminal,
    interrupt: &Interrupt,
) -> Result<Vec<Program>> {
    let tools = [needed, welcome].concat();
    let mut found = interrupt.or(search(&tools, cache)).await??;
    for passed in found.iter().flat_map(|search| &search.passed_over) {
        terminal.say(format!("passed over: {passed}"));
    }
    let missing = (needed.iter().zip(&found)).filter(|(_, search)| search.program.is_none());
    let missing: Vec<Tool> = missing.map(|(tool, _)| *tool).collect();
    if !missing.is_empty() {
        let plans = groups(&missing).into_iter().map(Plan::of);
        let plans: Vec<Plan> = interrupt.or(join_all(plans)).await?.into_iter().collect::<Result<_>>()?;
        let stuck: Vec<(&Plan, Vec<String>)> =
            plans.iter().filter(|plan| !plan.possible()).map(|plan| (plan, Vec::new())).collect();
        if !stuck.is_empty() {
            return Err(no_way(&stuck));
        }
        terminal.consent(&question(&plans, cache), interrupt).await?;
        cache.prepare()?;
        obtain_all(&plans, cache, terminal, interrupt).await?;
        found.extend(search(&missing, cache).await?);
    }
    let programs: Vec<Program> = found.into_iter().filter_map(|search| search.program).collect();
    match needed.iter().find(|tool| programs.iter().all(|program| program.tool != **tool)) {
        Some(tool) => Err(Error::prerequisite(format!("{tool} was got and is not there"))),
        None => Ok(programs),
    }
}

/// Looks for all of them at the same time.
///
/// # Errors
/// As [`find`].
pub async fn search(tools: &[Tool], cache: &Cache) -> Result<Vec<Search>> {
    join_all(tools.iter().map(|tool| find(*tool, cache))).await.into_iter().collect()
}

/// Tools that come together, in the same release and the same package.
fn groups(missing: &[Tool]) -> Vec<Vec<Tool>> {
    let of = |tool: Tool| (Release::of(tool).map(|release| release.name), tool.package());
    let mut groups: Vec<Vec<Tool>> = Vec::new();
    for tool in missing {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| of(*first) == of(*tool))) {
            Some(group) => group.push(*tool),
            None => groups.push(vec![*tool]),
        }
    }
    groups
}

fn question(plans: &[Plan], cache: &Cache) -> String {
    let tools = plans.iter().flat_map(|plan| &plan.tools);
    let mut lines =
        vec![format!("{} missing; sre can get what it needs, into {}:", are(tools), cache.root().display())];
    lines.extend(plans.iter().map(|plan| format!("  {}", plan.ways().join("\n    or "))));
    lines.push("Nothing is installed system-wide, and no service is started.".into());
    lines.join("\n")
}

/// `prometheus is`, `prometheus, alertmanager are`.
fn are<'a>(tools: impl Iterator<Item = &'a Tool>) -> String {
    let names: Vec<&str> = tools.map(|tool| tool.name()).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// Gets all at the same time. Where one cannot be got, the others are got all the same: the next call then needs less.
async fn obtain_all(plans: &[Plan], cache: &Cache, terminal: &Terminal, interrupt: &Interrupt) -> Result<()> {
    let (apt, bars) = (Apt::of(cache), Bars::new(terminal));
    let getting = plans.iter().map(|plan| obtain(plan, cache, &apt, &bars, interrupt));
    let got = join_all(getting).await;
    interrupt.check()?;
    let failed: Vec<(&Plan, Vec<String>)> =
        plans.iter().zip(got).filter_map(|(plan, got)| Some((plan, got.err()?))).collect();
    if failed.is_empty() { Ok(()) } else { Err(no_way(&failed)) }
}

/// Gets the tools of a plan, by the first way that works.
///
/// # Errors
/// Every way that was tried, each with why it did not work.
async fn obtain(
    plan: &Plan,
    cache: &Cache,
    apt: &Apt,
    bars: &Bars,
    interrupt: &Interrupt,
) -> Result<(), Vec<String>> {
    let mut tried = Vec::new();
    for way in &plan.ways {
        bars.say(format!("getting {}", way.name()));
        let got = match get(way, cache, apt, bars, interrupt).await {
            Ok(()) => fits(plan, cache).await,
            Err(error) => Err(in_one_line(&error)),
        };
        match got {
            Ok(()) => return Ok(()),
            Err(_) if interrupt.exit().is_some() => return Err(tried),
            Err(why) => {
                let reason = format!("{}: {why}", way.name());
                bars.say(format!("that did not work: {reason}"));
                tried.push(reason);
            }
        }
    }
    Err(tried)
}

async fn get(way: &Way, cache: &Cache, apt: &Apt, bars: &Bars, interrupt: &Interrupt) -> Result<()> {
    match way {
        Way::Release { release, archive, address } => {
            release::install(release, archive, address, cache, bars, interrupt).await
        }
        Way::Package(package) => apt.unpack(Lists::System, package, cache, bars, interrupt).await,
        Way::Refreshed(name) => {
            let package = apt.refreshed(name, cache, bars, interrupt).await?;
            apt.unpack(Lists::Own, &package, cache, bars, interrupt).await
        }
    }
}

/// Whether what was got runs here, and is what it should be.
async fn fits(plan: &Plan, cache: &Cache) -> Result<(), String> {
    for search in search(&plan.tools, cache).await.map_err(|error| in_one_line(&error))? {
        if search.program.is_none() {
            return Err(search
                .passed_over
                .last()
                .cloned()
                .unwrap_or_else(|| "it has no such program".into()));
        }
    }
    Ok(())
}

/// No way is left to get these: what is missing, what was tried, and what the user can do.
fn no_way(failed: &[(&Plan, Vec<String>)]) -> Error {
    let tools: Vec<Tool> = failed.iter().flat_map(|(plan, _)| plan.tools.clone()).collect();
    let mut error = Error::prerequisite(format!("{} missing, and cannot be got", are(tools.iter())));
    for reason in failed.iter().flat_map(|(plan, tried)| tried.iter().chain(&plan.without)) {
        error = error.because_of(reason);
    }
    let names = tools.iter().map(|tool| tool.name()).collect::<Vec<_>>().join(", ");
    let variables =
        tools.iter().map(|tool| format!("export {}=/path/to/{tool}", tool.variable())).collect::<Vec<_>>();
    error.hint(format!(
        "try again where the internet can be reached; or `sre mirror fill DIR --only tools` there, and here: export SRE_MIRROR=file://DIR\n\
         or put {names} on PATH, or name what is elsewhere:\n{}",
        variables.join("\n")
    ))
}

fn in_one_line(error: &Error) -> String {
    let causes = error.causes().iter().map(String::as_str);
    std::iter::once(error.what()).chain(causes).collect::<Vec<_>>().join(": ").replace('\n', "; ")
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prometheus() -> Plan {
        let release = Release::of(Tool::Prometheus).expect("a release");
        Plan {
            tools: vec![Tool::Prometheus, Tool::Promtool],
            ways: vec![
                Way::Release {
                    release,
                    archive: &release.archives[0],
                    address: "https://example.org/prometheus-3.15.0.linux-amd64.tar.gz".into(),
                },
                Way::Package(apt::Package {
                    name: "prometheus".into(),
                    version: "2.42.0".into(),
                    size: 19_257_088,
                }),
                Way::Refreshed("prometheus"),
            ],
            without: Vec::new(),
        }
    }

    #[test]
    fn the_question_says_what_where_how_large() {
        let cache = Cache::at("/home/ada/.cache/sre/tools".into());
        insta::assert_snapshot!(question(&[prometheus()], &cache), @r"
        prometheus, promtool are missing; sre can get what it needs, into /home/ada/.cache/sre/tools:
          prometheus 3.15.0, official release, 105 MB: https://example.org/prometheus-3.15.0.linux-amd64.tar.gz
            or prometheus 2.42.0, the distribution's package, 20 MB
            or prometheus, the distribution's package, by package lists that are got first
        Nothing is installed system-wide, and no service is started.
        ");
    }

    #[test]
    fn what_comes_together_is_got_once() {
        let groups = groups(&[Tool::Prometheus, Tool::Alertmanager, Tool::Promtool, Tool::NodeExporter]);
        let together =
            vec![vec![Tool::Prometheus, Tool::Promtool], vec![Tool::Alertmanager], vec![Tool::NodeExporter]];
        assert_eq!(groups, together);
    }

    #[test]
    fn one_message_says_what_is_missing_and_every_way_that_was_tried() {
        let loki = Plan {
            tools: vec![Tool::Loki],
            ways: Vec::new(),
            without: vec!["no release of loki is pinned for linux-arm64".into()],
        };
        let tried = vec!["the release: it cannot be reached".to_owned(), "the package: no lists".to_owned()];
        insta::assert_snapshot!(no_way(&[(&prometheus(), tried), (&loki, Vec::new())]).to_string(), @r"
        prometheus, promtool, loki are missing, and cannot be got
          because: the release: it cannot be reached
          because: the package: no lists
          because: no release of loki is pinned for linux-arm64
          → try again where the internet can be reached; or `sre mirror fill DIR --only tools` there, and here: export SRE_MIRROR=file://DIR
            or put prometheus, promtool, loki on PATH, or name what is elsewhere:
            export SRE_PROMETHEUS=/path/to/prometheus
            export SRE_PROMTOOL=/path/to/promtool
            export SRE_LOKI=/path/to/loki
        ");
    }
}
