//! `sre describe`.

use clap::{Args, Subcommand};

use super::Context;
use super::columns::{WIDTH, columns};
use super::set::Set;
use crate::catalog::{self, Catalog, Origin};
use crate::config::Values;
use crate::error::Result;
use crate::exit::Exit;
use crate::scenario::{Load, Request, Scenario};
use crate::stack::{AlertRule, Stack};
use serde::Serialize;

/// Describes a stack or a scenario.
#[derive(Debug, Args)]
pub struct Describe {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Its parameters, how it runs, and the alert rules that it expects.
    Stack {
        /// The stack's name.
        name: String,
        #[command(flatten)]
        set: Set,
    },
    /// Its load, requests, faults, thresholds and checks.
    Scenario {
        /// The scenario's name, or the path of its file.
        name: String,
    },
}

/// A stack as it is described to machines.
#[derive(Serialize)]
struct DescribedStack {
    origin: Origin,
    values: Values,
    alerts: Vec<AlertRule>,
    stack: Stack,
}

/// A scenario as it is described to machines.
#[derive(Serialize)]
struct DescribedScenario {
    origin: Origin,
    shape: String,
    scenario: Scenario,
}

impl Describe {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        match self.what {
            What::Stack { name, set } => {
                let loaded = catalog::stack(&name, &set.set)?;
                loaded.warnings.iter().for_each(|warning| context.terminal.say(warning));
                let described = DescribedStack {
                    origin: loaded.origin,
                    values: loaded.parameters,
                    alerts: loaded.alerts,
                    stack: loaded.stack,
                };
                context.terminal.print(&described, stack)?;
            }
            What::Scenario { name } => {
                let loaded = Catalog::here().scenario(&name)?;
                loaded.warnings.iter().for_each(|warning| context.terminal.say(warning));
                let described = DescribedScenario {
                    origin: loaded.origin,
                    shape: loaded.scenario.load.in_words(),
                    scenario: loaded.scenario,
                };
                context.terminal.print(&described, scenario)?;
            }
        }
        Ok(Exit::Pass)
    }
}

fn stack(described: &DescribedStack) -> String {
    let DescribedStack { origin, values, alerts, stack } = described;
    let mut facts = vec![
        ("Name", stack.name.clone()),
        ("Description", stack.description.clone()),
        ("From", origin.to_string()),
    ];
    let labels =
        [("path", &stack.counter.path), ("method", &stack.counter.method), ("status", &stack.counter.status)];
    let labels: Vec<String> =
        labels.iter().filter_map(|(of, label)| Some(format!("{of}: {}", label.as_ref()?))).collect();
    facts.push(("Counter", format!("{} ({})", stack.counter.metric, labels.join(", "))));
    if let Some(local) = &stack.local {
        let exporter = if local.node_exporter { ", node exporter" } else { "" };
        facts.push((
            "Local",
            format!(
                "{} × {}, scraped every {}{exporter}",
                local.service.replicas, local.service.name, local.scrape_interval
            ),
        ));
    }
    if let Some(external) = &stack.external {
        let services: Vec<String> = external.service.iter().map(ToString::to_string).collect();
        facts.push(("External", format!("{}, watched by {}", services.join(", "), external.prometheus.url)));
    }
    let mut sections = vec![self::facts(facts)];
    let parameters = stack.parameters.iter().map(|(name, parameter)| {
        let allowed: Vec<String> = parameter.values.iter().map(plain).collect();
        let mut description = match allowed.as_slice() {
            [] => parameter.description.clone(),
            _ => format!("{} ({})", parameter.description, allowed.join(", ")),
        };
        if let Some(default) = &parameter.on_cluster {
            description += &format!(" ({} on a cluster)", plain(default));
        }
        [name.clone(), values.get(name).cloned().unwrap_or_default(), plain(&parameter.default), description]
    });
    sections.push(table("Parameters", ["NAME", "VALUE", "DEFAULT", "DESCRIPTION"], parameters));
    let alerts = alerts.iter().map(|alert| {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        [alert.name.clone(), or_dash(&alert.severity), or_dash(&alert.lasts), alert.file.clone()]
    });
    sections.push(table("Alert rules", ["NAME", "SEVERITY", "FOR", "FILE"], alerts));
    sections.join("\n\n")
}

fn scenario(described: &DescribedScenario) -> String {
    let DescribedScenario { origin, shape, scenario } = described;
    let mut sections = vec![facts(vec![
        ("Name", scenario.name.clone()),
        ("Description", scenario.description.clone()),
        ("From", origin.to_string()),
        ("Stack", scenario.stack.clone()),
        ("Seed", scenario.seed.to_string()),
        ("Load", shape.clone()),
        ("Executor", scenario.load.executor().into()),
    ])];
    if let Load::ArrivalRate(arrivals) = &scenario.load
        && arrivals.phases.len() > 1
    {
        let names = arrivals.phase_names();
        let phases = names.into_iter().zip(&arrivals.phases).map(|(name, phase)| [name, phase.in_words()]);
        sections.push(table("Phases", ["NAME", "RATE"], phases));
    }
    let total: u64 = scenario.requests.values().map(|request| u64::from(request.weight)).sum();
    let requests = scenario.requests.iter().map(|(name, request)| {
        let Request { method, path, .. } = request;
        let share = 100.0 * f64::from(request.weight) / total.max(1) as f64;
        [name.clone(), format!("{share:.1} %"), method.clone(), path.clone(), request.expect.to_string()]
    });
    sections.push(table("Requests", ["NAME", "SHARE", "METHOD", "PATH", "EXPECTED"], requests));
    if !scenario.faults.is_empty() {
        sections.push(lines("Faults", scenario.faults.iter().map(|fault| fault.in_words())));
    }
    if !scenario.thresholds.is_empty() {
        sections.push(lines("Thresholds", scenario.thresholds.iter().map(ToString::to_string)));
    }
    sections.push(lines("Checks", scenario.checks.iter().map(|check| check.in_words())));
    sections.join("\n\n")
}

/// `Name:   value`, the values under each other.
fn facts(facts: Vec<(&str, String)>) -> String {
    let line = |(name, value): &(&str, String)| format!("{:<14}{value}", format!("{name}:"));
    facts.iter().filter(|(_, value)| !value.is_empty()).map(line).collect::<Vec<_>>().join("\n")
}

fn table<const N: usize>(title: &str, titles: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return format!("{title}: none");
    }
    format!("{title}:\n{}", indented(&columns(WIDTH - 2, titles, rows)))
}

fn lines(title: &str, lines: impl Iterator<Item = String>) -> String {
    format!("{title}:\n{}", indented(&lines.collect::<Vec<_>>().join("\n")))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
