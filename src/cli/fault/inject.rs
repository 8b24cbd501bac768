//! `sre fault inject`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::list::named;
use super::place::Where;
use crate::cli::Context;
use crate::cli::turn::Turn;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::fault::kubernetes::{Aimed, Blast};
use crate::fault::{self, Clock, Journal, On, Planned, Timeline};
use crate::figures::duration;
use crate::report::wrap;
use crate::run::{Event, EventKind, Events, Reporter};
use crate::scenario::{Duration, FaultKind, FaultStep};
use crate::target::busy::Work;
use crate::target::kubernetes::{lease, reach};
use crate::target::{Folder, Lab};
use crate::terminal::Terminal;

/// Injects a fault, waits, and undoes it; Ctrl-C undoes it at once.
///
/// In the lab that is up here, or on any object of a cluster: sre fault inject pod-delete --context CTX --namespace
/// NS --selector app=frontend --for 30s
#[derive(Debug, Args)]
pub struct Inject {
    /// The fault: a name that `sre fault list` shows, with its value where it has one: cpu-pressure=80%.
    #[arg(value_name = "NAME[=VALUE]", value_parser = kind)]
    fault: FaultKind,
    /// For how long.
    #[arg(long = "for", value_name = "TIME")]
    lasts: Duration,
    #[command(flatten)]
    place: Where,
    /// On which replicas, or pods by name, from 0: 0,2.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    replicas: Option<Vec<usize>>,
    /// How many pods it takes, where it takes some of them [default: 1].
    #[arg(long, value_name = "N", conflicts_with = "replicas")]
    count: Option<usize>,
    /// Lets it take the last replica.
    #[arg(long)]
    allow_outage: bool,
    /// Prints what it would do, how far it would reach, and does nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    turn: Turn,
}

/// What will be done, for machines.
#[derive(Debug, Serialize)]
struct Preview<'a> {
    fault: String,
    id: &'a str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    blast: Option<&'a Blast>,
    guarded: bool,
    shows: &'static str,
}

/// What was done, for machines.
#[derive(Debug, Clone, Default, Serialize)]
struct Done {
    fault: String,
    id: String,
    injected: Option<jiff::Timestamp>,
    healed: Option<jiff::Timestamp>,
    /// Seconds from undoing it until what was ready was so again.
    ready_after_seconds: Option<f64>,
}

impl Inject {
    /// Whether it only shows what it would do.
    pub fn only_looks(&self) -> bool {
        self.dry_run
    }

    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        let lab = Lab::load(folder.root())?;
        let step = FaultStep {
            fault: self.fault.clone(),
            at: Duration::default(),
            lasts: self.lasts,
            replicas: self.replicas.clone(),
            on: self.place.aim().cloned(),
            count: self.count,
            allow_outage: self.allow_outage,
        };
        let scene = self.place.scene(lab.as_ref(), context).await?;
        let mut timeline = match (&scene, &lab) {
            (Some((scene, _)), _) => context.interrupt.or(fault::aim(&[step], scene)).await??,
            (None, Some(lab)) => fault::plan(&[step], lab)?,
            (None, None) => {
                return Err(Error::usage(format!("nobody says what {} is to be on", self.fault))
                    .because_of("no lab is up here")
                    .hint("sre up, or name it: --context CONTEXT --namespace NAMESPACE --on KIND/NAME"));
            }
        };
        let planned = timeline.faults.first().cloned();
        let Some(planned) = planned else { return Ok(Exit::Pass) };
        let preview = self.preview(&planned);
        if self.dry_run {
            context.terminal.print(&preview, |_| self.screen(&planned))?;
            return Ok(Exit::Pass);
        }
        let place = lab.as_ref().and_then(|lab| lab.cluster.as_ref());
        let is_ours =
            |own: bool| own && place.is_some_and(|place| timeline.aimed().all(|aimed| aimed.is_of(place)));
        match &scene {
            Some((_, own)) if !is_ours(*own) => {
                context.terminal.consent(&self.screen(&planned), &context.interrupt).await?;
            }
            _ => context.terminal.say(self.screen(&planned)),
        }
        let command = format!("sre fault inject {}", self.fault);
        let _busy = self.turn.begin(&folder, Work::Fault, &command, context).await?;
        if let Some(Lab { cluster: Some(place), .. }) = &lab {
            let cluster = context.interrupt.or(reach::connect(place)).await??;
            let free = lease::refuse_beside(&cluster, &place.namespace, Work::Fault);
            context.interrupt.or(free).await??;
        }
        let journal = Journal::new(&folder, &context.terminal);
        let played = self.play(&mut timeline, &journal, context).await;
        timeline.dismiss(&journal).await;
        let done = played?;
        context.terminal.print_for_machines(&done)?;
        Ok(Exit::Pass)
    }

    async fn play(&self, timeline: &mut Timeline, journal: &Journal, context: &Context) -> Result<Done> {
        if timeline.aimed().any(Aimed::is_guarded) {
            context.terminal.say("making the guard of the fault");
        }
        context.interrupt.or(timeline.prepare(std::time::Duration::ZERO)).await??;
        let done = Arc::new(Mutex::new(Done::default()));
        let teller = Teller { done: done.clone(), terminal: context.terminal.clone(), lasts: self.lasts };
        let events = Events::new(vec![Box::new(teller)]);
        let start = Instant::now();
        let clock = Clock::new(async || None, None);
        timeline.run(journal, start, &events, &clock, &context.interrupt).await?;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(healed) = done.healed {
            let took = jiff::Timestamp::now().duration_since(healed).as_secs_f64();
            done.ready_after_seconds = Some(took);
            context.terminal.say(format!("✔ all is ready that was so before, {} later", duration(took)));
        }
        Ok(done)
    }

    fn preview<'a>(&self, planned: &'a Planned) -> Preview<'a> {
        let aimed = match &planned.on {
            On::Object(aimed) => Some(aimed),
            On::Replicas(_) => None,
        };
        Preview {
            fault: planned.description(),
            id: &planned.id,
            seconds: self.lasts.as_secs_f64(),
            blast: aimed.map(|aimed| aimed.blast()),
            guarded: aimed.is_some_and(|aimed| aimed.is_undone_inside()),
            shows: named(planned.kind.name()).map_or("", |fault| fault.shows),
        }
    }

    fn screen(&self, planned: &Planned) -> String {
        let preview = self.preview(planned);
        let mut lines = vec![format!("{} for {}", preview.fault, self.lasts)];
        let mut row = |title: &str, text: &str| {
            let mut title = title;
            for line in wrap(text, 66) {
                lines.push(format!("  {title:<12}{line}"));
                title = "";
            }
        };
        if let Some(blast) = preview.blast {
            blast.takes.iter().for_each(|taken| row("takes", taken));
            blast.leaves.iter().for_each(|left| row("leaves", left));
            if let Some(outage) = &blast.outage {
                row("outage", outage);
            }
            row(
                "undone by",
                match preview.guarded {
                    true => {
                        "this process; the next sre up, load, run or heal here; a Job in the cluster 10 s after its time"
                    }
                    false => "this process; the next sre up, load, run or heal here",
                },
            );
        }
        row("monitoring", preview.shows);
        lines.join("\n")
    }
}

/// A fault as it is written here: `latency=2s`, `pod-delete`.
fn kind(text: &str) -> Result<FaultKind, String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let known = named(name).map_err(|error| format!("{}: {}", error.what(), error.causes().join("; ")))?;
    let yaml = match (value, known.example) {
        (Some(value), Some(_)) => serde_json::json!({ name: value }),
        (None, None) => serde_json::json!(name),
        (None, Some(example)) => return Err(format!("{name} needs a value, such as {name}={example}")),
        (Some(_), None) => return Err(format!("{name} has no value")),
    };
    serde_json::from_value(yaml).map_err(|error| error.to_string())
}

/// Tells of the fault as it comes and goes.
struct Teller {
    done: Arc<Mutex<Done>>,
    terminal: Terminal,
    lasts: Duration,
}

impl Reporter for Teller {
    fn event(&mut self, event: &Event) -> Result<()> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::FaultInjected(fault) => {
                (done.fault, done.id) = (fault.description.clone(), fault.id.clone());
                done.injected = Some(event.time);
                self.terminal.say(format!("✔ injected; it is undone in {}, or by Ctrl-C", self.lasts));
            }
            EventKind::FaultHealed(fault) => {
                done.healed = Some(event.time);
                self.terminal.say(format!("✔ healed {}", fault.description));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_with_their_value() {
        assert_eq!(kind("pod-delete"), Ok(FaultKind::PodDelete));
        assert_eq!(kind("latency=2s").map(|kind| kind.to_string()), Ok("latency 2s".into()));
        for wrong in ["pod-delet", "latency", "pod-delete=3", "latency=soon", "error-rate=120%"] {
            assert!(kind(wrong).is_err(), "{wrong}");
        }
    }
}
