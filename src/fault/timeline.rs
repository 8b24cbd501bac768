//! Plays a timeline beside the load.

use std::time::{Duration, Instant};

use super::active::Active;
use super::clock::Clock;
use super::entry::SCHEMA;
use super::moment::Now;
use super::plan::{Moment, On};
use super::sign::Subject;
use super::{Entry, Journal, Planned, Sign, State, Switches, Timeline, Touched};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::run::{EventKind, Events, FaultEvent};
use crate::scenario::FaultKind;
use crate::target::{Lab, Replica};

impl Timeline {
    /// Injects each fault at its time after `start` and undoes it at its end, telling `events`, with
    /// Prometheus' time by `clock`. Comes back when the last one is undone.
    ///
    /// An interruption or any error undoes everything at once, and so does dropping this before its end.
    /// Errors: what could not be undone comes first, then what could not be injected. Neither the
    /// journal's lock nor the lab's may be held by the caller.
    pub async fn run<N, F>(
        &self,
        journal: &Journal,
        start: Instant,
        events: &Events,
        clock: &Clock<N>,
        interrupt: &Interrupt,
    ) -> Result<()>
    where
        N: Fn() -> F,
        F: Future<Output = Option<f64>>,
    {
        let stage = Stage { faults: &self.faults, journal, start, events, clock };
        let mut active = Active::new(journal);
        let played = stage.play(&self.moments(), &mut active, interrupt).await;
        let cleared = stage.clear(&mut active).await;
        cleared.and(played)?;
        // Who has interrupted it does not wait for what gets ready by itself.
        interrupt.or(active.settle()).await?
    }
}

/// What a timeline is played with.
struct Stage<'a, N> {
    faults: &'a [Planned],
    journal: &'a Journal,
    start: Instant,
    events: &'a Events,
    clock: &'a Clock<N>,
}

impl<N, F> Stage<'_, N>
where
    N: Fn() -> F,
    F: Future<Output = Option<f64>>,
{
    async fn play(
        &self,
        moments: &[(Duration, Moment)],
        active: &mut Active,
        interrupt: &Interrupt,
    ) -> Result<()> {
        for (at, moment) in moments {
            interrupt.or(tokio::time::sleep_until((self.start + *at).into())).await?;
            match *moment {
                Moment::Inject(number) => {
                    let fault = &self.faults[number];
                    let entry = self.entry(fault).await;
                    // Asked before: what comes of it comes after.
                    let mut event = event(fault, self.clock.time().await);
                    let injected = match entry {
                        Ok(entry) => {
                            event.sign = sign(fault, &entry);
                            active.inject(entry, interrupt).await
                        }
                        Err(error) => Err(error),
                    };
                    self.tell(injected.map(|()| EventKind::FaultInjected(event.clone())), event, "injected")?;
                }
                Moment::Heal(number) => {
                    let fault = &self.faults[number];
                    let event = event(fault, self.clock.time().await);
                    let healed = active.heal(&fault.id).await;
                    self.tell(healed.map(|()| EventKind::FaultHealed(event.clone())), event, "undone")?;
                }
            }
        }
        Ok(())
    }

    /// Undoes what is still active, and tells of it. The first error is returned; all are told.
    async fn clear(&self, active: &mut Active) -> Result<()> {
        let all = active.heal_all().await;
        if all.is_empty() {
            return Ok(());
        }
        let time = self.clock.time().await;
        let mut result = Ok(());
        for (entry, healed) in all {
            for fault in self.faults.iter().filter(|fault| fault.id == entry.id) {
                let event = event(fault, time);
                let healed = healed.clone().map(|()| EventKind::FaultHealed(event.clone()));
                result = result.and(self.tell(healed, event, "undone"));
            }
        }
        result
    }

    /// Tells what happened, or that it could not be made to happen; that is returned as an error, too.
    fn tell(&self, happened: Result<EventKind>, fault: FaultEvent, word: &str) -> Result<()> {
        match happened {
            Ok(event) => self.events.emit(event),
            Err(error) => {
                let what = format!("{} could not be {word}", fault.description);
                let failed = EventKind::FaultFailed { fault, error: error.to_string() };
                // What failed matters more than that it could not be told.
                let _ = self.events.emit(failed);
                Err(error.within(what))
            }
        }
    }

    /// The fault's entry in the journal, with the processes and objects as they are now.
    async fn entry(&self, fault: &Planned) -> Result<Entry> {
        let left = (self.start + fault.until).saturating_duration_since(Instant::now());
        let end = Now::read().after(left);
        let description = fault.description();
        let touched = match &fault.on {
            On::Replicas(replicas) => {
                let lab = Lab::load(self.journal.folder().root())?;
                let each = replicas.iter().map(|replica| touched(&fault.kind, replica, lab.as_ref()));
                each.collect::<Result<_>>()?
            }
            On::Object(aimed) => vec![aimed.touched(&description, end.wall).await?],
        };
        Ok(Entry {
            schema: SCHEMA.into(),
            id: fault.id.clone(),
            description,
            state: State::Planned,
            owner: std::process::id(),
            until: end.wall,
            ends: end.steady,
            touched,
            error: None,
        })
    }
}

fn event(fault: &Planned, prometheus_time: Option<f64>) -> FaultEvent {
    FaultEvent {
        id: fault.id.clone(),
        number: fault.number,
        description: fault.description(),
        instances: fault.instances(),
        prometheus_time,
        sign: None,
    }
}

/// What monitoring shows of a fault that is about to be injected.
fn sign(fault: &Planned, entry: &Entry) -> Option<Sign> {
    let object = entry.touched.iter().find_map(|touched| match touched {
        Touched::Object { on, record, .. } => Some((on, &**record)),
        _ => None,
    });
    fault.kind.sign()?.filled(&Subject { kind: &fault.kind, instances: &fault.instances(), object })
}

fn touched(kind: &FaultKind, replica: &Replica, lab: Option<&Lab>) -> Result<Touched> {
    let process = lab.and_then(|lab| lab.process(&replica.name)).cloned();
    if let Some(switches) = Switches::of(kind) {
        let admin = replica.admin.clone();
        let admin = admin.ok_or_else(|| Error::target(format!("{} has no admin port", replica.name)))?;
        return Ok(Touched::Switches { replica: replica.name.clone(), admin, process, switches });
    }
    let process =
        process.ok_or_else(|| Error::target(format!("the lab has no process {} any more", replica.name)))?;
    Ok(match kind {
        FaultKind::Kill => Touched::Killed { process, url: replica.url.clone() },
        _ => Touched::Paused { process },
    })
}
