//! `sre load`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use url::Url;

use super::capacity::FindCapacity;
use super::push::Pushing;
use super::reach::reach;
use super::turn::{Turn, release};
use super::up::{as_it_is_up, external_as_written, recorded};
use super::{Context, Output, report};
use crate::catalog;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::fault;
use crate::report::{push::Push, samples::Samples, terminal::Live};
use crate::run::{self, Begun, Reporter, Run, Senders};
use crate::scenario::{Duration, Rate, Scenario};
use crate::target::busy::Work;
use crate::target::kubernetes::load_job::PodWorkers;
use crate::target::kubernetes::reach::{Reached, Way};
use crate::target::{Folder, Lab, TargetKind};
use crate::terminal::Terminal;

/// Puts a scenario's load on the stack that is up, and judges what needs no server: thresholds, and whether
/// the generator kept up.
#[derive(Debug, Args)]
pub struct Load {
    /// The scenario: a name that `sre list` shows, or a file.
    #[arg(default_value = "baseline", conflicts_with = "named")]
    scenario: String,
    /// The same, by name.
    #[arg(long = "scenario", value_name = "NAME", id = "named")]
    named: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    sending: Sending,
    #[command(flatten)]
    capacity: FindCapacity,
    #[command(flatten)]
    turn: Turn,
}

/// The same shape of load, higher, wider or longer.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// The highest rate of all phases; the others keep their proportion to it.
    #[arg(long, value_name = "RATE", value_parser = parse::<Rate>)]
    rate: Option<Rate>,
    /// Users at the same time.
    #[arg(long, value_name = "N")]
    users: Option<usize>,
    /// How long the whole load lasts.
    #[arg(long, value_name = "TIME", value_parser = parse::<Duration>)]
    duration: Option<Duration>,
}

/// How load reaches a lab on a cluster.
#[derive(Debug, Clone)]
enum Via {
    Job,
    NodePort,
    Url(Url),
}

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Via, String> {
        match text {
            "job" => Ok(Via::Job),
            "nodeport" => Ok(Via::NodePort),
            _ => match text.parse::<Url>() {
                Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => {
                    Ok(Via::Url(url))
                }
                _ => Err("write job, nodeport, or a URL such as http://shop.example:8080".into()),
            },
        }
    }
}

/// How load is sent, and where its seconds go.
#[derive(Debug, Clone, Args)]
pub struct Sending {
    /// So many workers send it together: processes of this machine, or pods where the lab is on a cluster.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    workers: Option<u64>,
    /// How load reaches a lab on a cluster: `job`, from pods to the Service; `nodeport`, from here to a node's port;
    /// or the URL of an ingress or a load balancer, from here [default: job with --workers, else nodeport where a
    /// node's port answers from here, else job].
    #[arg(long, value_name = "WAY")]
    via: Option<Via>,
    /// Writes each second of the load into this file, as a line of JSON; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    push: Pushing,
}

impl Sending {
    /// Opens the way from who sends to the service, and to what observes it.
    ///
    /// # Errors
    /// A way that the lab does not have (2), or that does not lead there (6); a fault that is on the lab (6).
    pub async fn ways(&self, lab: &Lab, state: &Folder, context: &Context) -> Result<(Reached, Senders)> {
        let processes =
            || self.workers.filter(|workers| *workers > 1).map_or(Senders::Here, Senders::Processes);
        let Some(place) = &lab.cluster else {
            return match &self.via {
                None => Ok((reach(lab, &Way::Unneeded, context).await?, processes())),
                Some(_) => Err(Error::usage("--via is for labs on a cluster").because_of(format!(
                    "the lab here is on the target {}, where load goes to the replicas",
                    lab.target
                ))),
            };
        };
        let way = match (&self.via, self.workers) {
            (Some(Via::Job), _) | (None, Some(_)) => Way::Service,
            (Some(Via::NodePort), _) => Way::NodePort,
            (Some(Via::Url(url)), _) => Way::Url(url.clone()),
            (None, None) => Way::NodePortOrService,
        };
        // Whatever is sent, and before it is looked where to: healing makes pods anew.
        fault::ensure_none_on(place, &context.terminal, &context.interrupt).await?;
        let reached = reach(lab, &way, context).await?;
        let senders = match &reached.cluster {
            Some(cluster) if reached.inside => Senders::Pods(Box::new(PodWorkers {
                cluster: cluster.clone(),
                place: place.clone(),
                workers: self.workers.unwrap_or(1),
                folder: state.clone(),
                terminal: context.terminal.clone(),
            })),
            _ => processes(),
        };
        Ok((reached, senders))
    }

    /// Begins a run, and puts its load on; its seconds go to the screen, and wherever else they are wanted.
    ///
    /// # Errors
    /// Usage (exit 2) where two want stdout; a prerequisite (5) where the file cannot be made or nothing takes the
    /// samples; and as [`Run::faults`] and [`Run::load`].
    pub async fn load(&self, life: &Run<'_>) -> Result<Begun> {
        let faults = life.faults().await?;
        let mut reporters = self.reporters(life.terminal)?;
        let mut push = life.interrupt.or(self.push.start(life.lab, life.terminal)).await??;
        reporters.extend(push.as_mut().and_then(Push::reporter));
        let begun = life.begin(reporters)?;
        let loaded = life.load(&begun, faults).await;
        if let Some(push) = push {
            self.push.finish(push, life.terminal).await;
        }
        loaded.map(|_| begun)
    }

    /// The live screen, and the stream of samples where one is asked for.
    fn reporters(&self, terminal: &Terminal) -> Result<Vec<Box<dyn Reporter>>> {
        let Some(file) = &self.out else { return Ok(vec![Box::new(Live::new(terminal))]) };
        let to_stdout = file == Path::new("-");
        if to_stdout && terminal.output() != Output::Table {
            return Err(Error::usage("--out - and --output want stdout, both")
                .hint("--out FILE; or sre report -o json afterwards"));
        }
        let live = if to_stdout { Live::on_stderr(terminal) } else { Live::new(terminal) };
        Ok(vec![Box::new(live), Box::new(Samples::create(file)?)])
    }
}

/// A value of the command line.
pub(super) fn parse<T: std::str::FromStr<Err = String>>(text: &str) -> std::result::Result<T, String> {
    text.parse()
}

impl Overrides {
    /// The scenario of this name or file, with this load; what is doubtful in its file is told.
    ///
    /// # Errors
    /// Usage (exit 2) where there is none, it is not sound, or this load does not fit it.
    pub fn load(&self, name_or_path: &str, terminal: &Terminal) -> Result<Scenario> {
        let loaded = catalog::scenario(name_or_path)?;
        loaded.warnings.iter().for_each(|warning| terminal.warn(warning));
        loaded.scenario.override_with(self.rate, self.users, self.duration)
    }
}

impl Load {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let name = self.named.as_ref().unwrap_or(&self.scenario);
        let scenario = match self.capacity.asked() {
            true => Overrides::default().load(name, &context.terminal)?,
            false => self.overrides.load(name, &context.terminal)?,
        };
        let state = Folder::here()?;
        let lab = recorded(&state, context)?
            .ok_or_else(|| Error::target("nothing is up here").hint(format!("sre up {}", scenario.stack)))?;
        same_stack(&scenario, &lab.stack)?;
        let command = format!("sre load {name}");
        let _busy = self.turn.begin(&state, Work::Load, &command, context).await?;
        let lease = self.turn.on_cluster(&lab, (Work::Load, &command), context).await?;
        let done = self.put_on(&scenario, lab, &state, context).await;
        release(lease).await;
        done
    }

    async fn put_on(&self, scenario: &Scenario, lab: Lab, state: &Folder, context: &Context) -> Result<Exit> {
        let (lab, stack) = match lab.target {
            TargetKind::External => external_as_written(lab, state, context).await?,
            _ => {
                let stack = as_it_is_up(&lab, &[])?;
                (lab, stack)
            }
        };
        let (reached, senders) = self.sending.ways(&lab, state, context).await?;
        if self.capacity.asked() {
            let step = self.overrides.duration;
            return self.capacity.run(scenario, step, &senders, &reached.lab, context).await;
        }
        let life = Run {
            scenario,
            stack: &stack,
            lab: &reached.lab,
            reached: &reached,
            state,
            terminal: &context.terminal,
            interrupt: &context.interrupt,
            judged: false,
            senders,
        };
        let begun = self.sending.load(&life).await?;
        let verdict = run::judge_load(&begun.folder, &begun.events);
        report::print_result(&begun.folder, &context.terminal)?;
        verdict
    }
}

/// A scenario names its stack; on another one its counts would mean nothing.
///
/// # Errors
/// Usage (exit 2).
pub fn same_stack(scenario: &Scenario, up: &str) -> Result<()> {
    if scenario.stack == up {
        return Ok(());
    }
    Err(Error::usage(format!("the scenario {} is for the stack {}", scenario.name, scenario.stack))
        .because_of(format!("the stack {up} is up here"))
        .hint(format!("sre down, then sre up {}; or work in another folder", scenario.stack)))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::interrupt::Interrupt;
    use crate::target::kubernetes::fake::Fake;
    use crate::target::kubernetes::record::Done;

    #[tokio::test]
    async fn a_load_with_faults_on_what_others_brought_asks_before_anything_is_started() {
        let fake = Fake::shop().await;
        let steps = serde_json::json!([
            {"fault": "pod-delete", "on": "statefulset/web", "at": "1s", "for": "5s"},
            {"fault": "cordon", "on": "node/first", "at": "0s", "for": "5s"},
        ]);
        let load = serde_json::json!({"users": {"users": 1, "duration": "1s"}});
        let requests = serde_json::json!({"list": {"path": "/"}});
        let scenario =
            serde_json::json!({"name": "test", "load": load, "requests": requests, "faults": steps});
        let scenario: Scenario = serde_json::from_value(scenario).expect("a scenario");
        let stack = catalog::stack("users-api", &[]).expect("it is embedded");
        let folder = tempfile::tempdir().expect("a folder");
        let state = Folder::at(folder.path());
        let cli = Cli::try_parse_from(["sre", "load"]).expect("a load");
        let Command::Load(load) = cli.command else { panic!("it is a load") };
        let refused = async |lab: &Lab, yes: bool| {
            let (terminal, interrupt) = (Terminal::silent(yes), Interrupt::default());
            let reached = Reached::of(lab.clone());
            let life = Run {
                scenario: &scenario,
                stack: &stack,
                lab,
                reached: &reached,
                state: &state,
                terminal: &terminal,
                interrupt: &interrupt,
                senders: Senders::Here,
                judged: false,
            };
            load.sending.load(&life).await.err()
        };
        let error = refused(&fake.lab(), false).await.expect("it is refused");
        assert_eq!(error.exit(), Exit::Prerequisite);
        let told = error.to_string();
        for part in ["pod-delete on StatefulSet shop/web", "1s after", "cordon on Node first", "--yes"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!((fake.count("Job"), fake.done()), (0, Vec::new()), "nothing is started");
        assert!(!folder.path().join("runs").exists(), "nor is a run begun");
        // Whoever has agreed comes to the next thing that is missing here: an image for the guard.
        let agreed = refused(&fake.lab(), true).await.expect("there is no image");
        assert!(agreed.to_string().contains("for the guard of the fault"), "{agreed}");
        // What is the lab's own needs no consent; a node is everybody's.
        let mut lab = fake.lab();
        lab.cluster.as_mut().expect("a cluster").done = vec![Done::Namespace("shop".into())];
        let told = refused(&lab, false).await.expect("the node is not").to_string();
        assert!(told.contains("cordon on Node first") && !told.contains("pod-delete"), "{told}");
    }

    #[tokio::test]
    async fn a_load_without_faults_does_not_begin_under_one_of_another_folder() {
        let fake = Fake::disturbed().await;
        let cli = Cli::try_parse_from(["sre", "load", "--via", "http://127.0.0.1:9"]).expect("a load");
        let Command::Load(load) = cli.command else { panic!("it is a load") };
        let context =
            Context { global: cli.global, terminal: Terminal::silent(true), interrupt: Interrupt::default() };
        let folder = tempfile::tempdir().expect("a folder");
        let ways = load.sending.ways(&fake.lab(), &Folder::at(folder.path()), &context).await;
        let error = ways.err().expect("it is refused");
        assert_eq!(error.exit(), Exit::Target);
        assert!(error.to_string().contains("a fault is injected in this lab already"), "{error}");
    }
}
