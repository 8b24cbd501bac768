//! `sre up`.

use std::path::PathBuf;

use clap::Args;
use indexmap::IndexMap;

use super::Context;
use super::reach::reach;
use super::set::Set;
use super::turn::{Turn, release};
use crate::catalog::{self, LoadedStack};
use crate::check::Steady;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::own_program;
use crate::report::{dotted, wrap};
use crate::scenario::Duration;
use crate::target::busy::Work;
use crate::target::kubernetes::reach::Way;
use crate::target::kubernetes::{preview as cluster_preview, up as cluster_up};
use crate::target::{Folder, Lab, TargetKind, choose, external, local};

/// The stack that comes up where none is named.
const DEFAULT_STACK: &str = "users-api";

/// Brings up a stack, or mends the one that is up.
#[derive(Debug, Args)]
pub struct Up {
    /// The stack; without it, the one that is up here, else users-api.
    stack: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// Shows what would be done, and does nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    turn: Turn,
}

/// How a stack comes up.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    #[command(flatten)]
    set: Set,
    /// How many replicas of the service run: --set replicas=N.
    #[arg(long, value_name = "N")]
    replicas: Option<usize>,
    /// How long it may take until all of the stack is well [default: 1m; on a cluster 3m once all is installed].
    #[arg(long, value_name = "DURATION")]
    wait: Option<Duration>,
    #[command(flatten)]
    place: Place,
}

/// Where on Kubernetes a stack comes up; remembered until it is taken down.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct Place {
    /// The kubeconfig context of the target cluster; never guessed.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The command that loads an image's archive onto the nodes; {archive} and {image} are replaced in it.
    #[arg(long, value_name = "COMMAND", env = "SRE_IMAGE_LOADER")]
    image_loader: Option<String>,
    /// The static program that the image of the demo service holds [default: this one].
    #[arg(long, value_name = "FILE", env = "SRE_IMAGE_BINARY")]
    image_binary: Option<PathBuf>,
    /// Further values of a chart, which win over the stack's; may be given several times, the later win.
    #[arg(long, value_name = "CHART=FILE", value_parser = chart_and_file)]
    values: Vec<(String, PathBuf)>,
    /// Replaces the minikube profile that is there.
    #[arg(long)]
    fresh: bool,
}

impl Up {
    /// Whether it only shows what it would do.
    pub fn only_looks(&self) -> bool {
        self.dry_run
    }

    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        let here = Lab::load(folder.root())?;
        if self.dry_run {
            let choice = choose(context.global.target, here.as_ref().map(|lab| lab.target), false)?;
            let stack = self.wanted.load(self.stack.as_deref(), choice.target, here.as_ref())?;
            return match choice.target {
                TargetKind::Local => self.preview(&stack, &folder, context).await,
                TargetKind::External => Err(Error::usage(
                    "there is nothing to preview on the target external: nothing is started",
                )),
                target => self.preview_cluster(&stack, &folder, target, here.as_ref(), context).await,
            };
        }
        let command = self.stack.as_ref().map_or("sre up".to_owned(), |stack| format!("sre up {stack}"));
        let _busy = self.turn.begin(&folder, Work::Change, &command, context).await?;
        let lease = match &here {
            Some(lab) => self.turn.on_cluster(lab, (Work::Change, &command), context).await?,
            None => None,
        };
        let up = bring_up(self.stack.as_deref(), &self.wanted, &folder, context).await;
        release(lease).await;
        let (lab, _) = up?;
        context.terminal.print(&lab, screen)?;
        Ok(Exit::Pass)
    }

    async fn preview_cluster(
        &self,
        stack: &LoadedStack,
        folder: &Folder,
        target: TargetKind,
        here: Option<&Lab>,
        context: &Context,
    ) -> Result<Exit> {
        let (file, rules) = (|name: &str| stack.file(name), stack.rule_names());
        let request = self.wanted.on_cluster(stack, &file, &rules, folder, target, here);
        let preview = cluster_preview::preview(&request, &context.interrupt).await?;
        let whole = context.terminal.verbose() > 0;
        context.terminal.print(&preview, |preview| cluster_screen(preview, whole))?;
        Ok(Exit::Pass)
    }

    async fn preview(&self, stack: &LoadedStack, folder: &Folder, context: &Context) -> Result<Exit> {
        let file = |name: &str| stack.file(name);
        let preview = local::preview(&request(stack, &file, folder, self.wanted.bound())?).await?;
        context.terminal.print(&preview, preview_screen)?;
        Ok(Exit::Pass)
    }
}

impl Place {
    /// The files of values by chart, each by its full path: they are read again by a later `up` elsewhere.
    fn values(&self) -> IndexMap<String, Vec<PathBuf>> {
        let mut values: IndexMap<String, Vec<PathBuf>> = IndexMap::new();
        for (chart, file) in &self.values {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            values.entry(chart.clone()).or_default().push(file);
        }
        values
    }
}

fn chart_and_file(text: &str) -> std::result::Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((chart, file)) if !chart.is_empty() && !file.is_empty() => Ok((chart.into(), file.into())),
        _ => Err("it must be CHART=FILE, such as loki=values.yaml".into()),
    }
}

impl Wanted {
    fn bound(&self) -> std::time::Duration {
        self.wait.map_or(local::BOUND, Duration::get)
    }

    /// What is to be brought up on a cluster.
    pub(super) fn on_cluster<'a>(
        &self,
        stack: &'a LoadedStack,
        read: &'a dyn Fn(&str) -> Result<String>,
        rules: &'a [String],
        folder: &'a Folder,
        target: TargetKind,
        here: Option<&'a Lab>,
    ) -> cluster_up::Request<'a> {
        cluster_up::Request {
            stack: &stack.stack,
            parameters: &stack.parameters,
            here,
            read,
            stack_folder: stack.place(),
            rules,
            folder,
            target,
            context: self.place.context.clone(),
            kubeconfig: self.place.kubeconfig.clone(),
            image_loader: self.place.image_loader.clone(),
            image_binary: self.place.image_binary.clone(),
            values: self.place.values(),
            fresh: self.place.fresh,
            bound: self.wait.map_or(cluster_up::BOUND, Duration::get),
        }
    }

    /// Loads the stack; what is up keeps its parameters, except those that are set now.
    pub(super) fn load(
        &self,
        name: Option<&str>,
        target: TargetKind,
        here: Option<&Lab>,
    ) -> Result<LoadedStack> {
        let name = name.or(here.map(|lab| lab.stack.as_str())).unwrap_or(DEFAULT_STACK);
        let replicas = self.replicas.map(|replicas| ("replicas".to_owned(), replicas.to_string()));
        let set: Vec<(String, String)> = self.set.set.iter().cloned().chain(replicas).collect();
        match here.filter(|lab| lab.stack == name) {
            None => catalog::stack_on(target, name, &set),
            Some(lab) => as_it_is_up(lab, &set),
        }
    }
}

/// The stack of a lab with the parameters that it has, except those that are set now.
pub fn as_it_is_up(lab: &Lab, set: &[(String, String)]) -> Result<LoadedStack> {
    let declared = catalog::stack(&lab.stack, &[])?.stack.parameters;
    let kept = lab
        .parameters
        .iter()
        .filter(|(key, _)| declared.contains_key(*key) && !set.iter().any(|(set, _)| set == *key))
        .map(|(key, value)| (key.clone(), value.clone()));
    let all: Vec<(String, String)> = kept.chain(set.iter().cloned()).collect();
    catalog::stack_on(lab.target, &lab.stack, &all)
}

/// What is up here, where it is on the target that was asked for.
///
/// # Errors
/// Usage (exit 2) where another target was asked for.
pub fn what_is_up(folder: &Folder, context: &Context) -> Result<Option<Lab>> {
    Ok(recorded(folder, context)?.map(with_written_addresses))
}

/// The same, with the addresses that it was brought up with.
///
/// # Errors
/// As [`what_is_up`].
pub fn recorded(folder: &Folder, context: &Context) -> Result<Option<Lab>> {
    let here = Lab::load(folder.root())?;
    choose(context.global.target, here.as_ref().map(|lab| lab.target), false)?;
    Ok(here)
}

/// A lab of the target external with the addresses that its stack's file has now, where that can be read.
pub fn with_written_addresses(lab: Lab) -> Lab {
    match lab.target {
        TargetKind::External => match as_it_is_up(&lab, &[]) {
            Ok(stack) => external::moved(&stack.stack, lab),
            Err(_) => lab,
        },
        _ => lab,
    }
}

/// Brings a stack up, or mends the one that is up; `sre up` and `sre run` do the same.
///
/// # Errors
/// Usage (exit 2) where the stack or the target is not what is up here; and whatever the target meets (5, 6).
pub async fn bring_up(
    name: Option<&str>,
    wanted: &Wanted,
    folder: &Folder,
    context: &Context,
) -> Result<(Lab, LoadedStack)> {
    let here = Lab::load(folder.root())?;
    let choice = choose(context.global.target, here.as_ref().map(|lab| lab.target), false)?;
    let stack = wanted.load(name, choice.target, here.as_ref())?;
    for warning in &stack.warnings {
        context.terminal.warn(warning);
    }
    context.terminal.say(format!("{} on {} ({})", stack.stack.name, choice.target, choice.because));
    let lab = match choice.target {
        TargetKind::Local => up_local(&stack, folder, wanted.bound(), context).await?,
        TargetKind::External => up_external(&stack, folder, context).await?,
        target @ (TargetKind::Minikube | TargetKind::Cluster) => {
            let (file, rules) = (|name: &str| stack.file(name), stack.rule_names());
            let request = wanted.on_cluster(&stack, &file, &rules, folder, target, here.as_ref());
            cluster_up::up(&request, &context.terminal, &context.interrupt).await?
        }
    };
    if stack.stack.steady.is_empty() {
        return Ok((lab, stack));
    }
    // On a cluster its parts answer as long as somebody reaches for them.
    let reached = reach(&lab, &Way::Unneeded, context).await?;
    let steady = Steady {
        stack: &stack.stack,
        rules: &stack.rule_names(),
        endpoints: &reached.lab.endpoints,
        terminal: &context.terminal,
        interrupt: &context.interrupt,
    };
    steady.wait(wanted.bound()).await?;
    Ok((lab, stack))
}

async fn up_external(stack: &LoadedStack, folder: &Folder, context: &Context) -> Result<Lab> {
    let waiting = |what: &str| context.terminal.say(what);
    let up = external::up(&stack.stack, &stack.parameters, &waiting);
    let lab = context.interrupt.or(up).await??;
    folder.prepare()?;
    lab.save(folder.root())?;
    Ok(lab)
}

/// A lab that is up already and not ours to mend, with its stack. It is taken as it is, so that the checks tell what is
/// wrong with it; but its addresses stand in the stack's file and nowhere else: where they were changed there, it is
/// looked there.
///
/// # Errors
/// As [`bring_up`], where the addresses were changed.
pub async fn external_as_written(lab: Lab, folder: &Folder, context: &Context) -> Result<(Lab, LoadedStack)> {
    let stack = as_it_is_up(&lab, &[])?;
    if !external::has_moved(&stack.stack, &lab) {
        return Ok((lab, stack));
    }
    context.terminal.say(format!("the addresses of the stack {} were changed: looking there", lab.stack));
    let lab = up_external(&stack, folder, context).await?;
    Ok((lab, stack))
}

async fn up_local(
    stack: &LoadedStack,
    folder: &Folder,
    bound: std::time::Duration,
    context: &Context,
) -> Result<Lab> {
    let file = |name: &str| stack.file(name);
    local::up(&request(stack, &file, folder, bound)?, &context.terminal, &context.interrupt).await
}

fn request<'a>(
    stack: &'a LoadedStack,
    stack_file: &'a dyn Fn(&str) -> Result<String>,
    folder: &'a Folder,
    bound: std::time::Duration,
) -> Result<local::Request<'a>> {
    let sre = own_program::installed()?;
    Ok(local::Request { stack: &stack.stack, parameters: &stack.parameters, stack_file, folder, sre, bound })
}

/// `users-api on local · 3 replicas · prometheus 3.15.0 · …`, and where to look.
fn screen(lab: &Lab) -> String {
    let replicas = match lab.endpoints.replica_count() {
        // Those of a cluster are looked up when they are needed.
        0 => lab.cluster.as_ref().map_or(String::new(), |place| format!("context {}", place.context)),
        1 => "1 replica".to_owned(),
        count => format!("{count} replicas"),
    };
    let versions = lab.versions.iter().map(|(name, version)| format!("{name} {version}"));
    let place = format!("{} on {}", lab.stack, lab.target);
    let mut lines = dotted([place, replicas].into_iter().chain(versions));
    for name in ["app", "prometheus", "alertmanager", "loki"] {
        if let Some(url) = lab.url(name) {
            lines.push(format!("  {name:<14}{url}"));
        }
    }
    lines.join("\n")
}

fn cluster_screen(preview: &cluster_preview::Preview, whole: bool) -> String {
    let mut lines = vec![format!("{} would be brought up on {}", preview.stack, preview.place)];
    for step in &preview.steps {
        let needs = match step.needs.as_slice() {
            [] => String::new(),
            needs => format!(" (after {})", needs.join(", ")),
        };
        lines.push(format!("\n{}: {}{needs}", step.name, step.what));
        // A chart is tens of thousands of lines, among which nobody finds a patch.
        match &step.in_short {
            Some(kinds) if !whole => {
                lines.extend(
                    wrap(&format!("{kinds} (-v shows them)"), 76).iter().map(|line| format!("  {line}")),
                );
            }
            _ => {
                let details = step.details.iter().flat_map(|text| text.lines());
                lines.extend(details.map(|line| format!("  {line}")));
            }
        }
    }
    lines.join("\n")
}

fn preview_screen(preview: &local::Preview) -> String {
    let mut lines = vec![format!("{} on local would be brought up so:", preview.stack)];
    for tool in &preview.missing {
        lines.push(format!("\n{} is missing; with consent it would be got", tool.name));
        lines.extend(tool.ways.iter().map(|way| format!("  {way}")));
    }
    for process in &preview.processes {
        lines.push(format!("\n{}{}", process.name, if process.running { " (runs already)" } else { "" }));
        lines.push(format!("  {}", process.command.join(" \\\n    ")));
    }
    for file in &preview.files {
        lines.push(format!("\n{}", file.path.display()));
        lines.extend(file.text.lines().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}
