//! Evaluates what shows each fault, on Prometheus' clock, until nothing can change any more.

use serde_json::json;

use super::judge::{Evaluations, LATE, STEP, Seen, Told, seen, settled};
use super::window::{Load, Times, Window};
use crate::check::Outcome;
use crate::check::context::CheckContext;
use crate::check::wait::{USUAL_TIMEOUT, pause, seconds_of};
use crate::error::Result;
use crate::fault::Sign;
use crate::figures::duration;
use crate::observe::Prometheus;
use crate::run::FaultEvent;
use crate::scenario::{Comparison, DetectedCheck, Operator};

/// Each fault that is meant is detected, and recovery from it is seen: two outcomes a fault.
///
/// # Errors
/// Interrupted (130, 143). Whatever Prometheus cannot tell is a verdict, not an error.
pub async fn check(context: &CheckContext<'_>, asked: &DetectedCheck) -> Result<Vec<Outcome>> {
    let injected = &context.faults.injected;
    let meant: Vec<&FaultEvent> = injected.iter().filter(|fault| asked.is_of(fault.number)).collect();
    if meant.is_empty() {
        let told = Told { sentence: asked.sentence(), evidence: json!({}) };
        return Ok(told.blind("No fault was injected."));
    }
    let mut outcomes = Vec::new();
    for fault in &meant {
        let sentence = asked.name.clone().unwrap_or_else(|| fault.description.clone());
        let same = |other: &&&FaultEvent| asked.name.is_some() || other.description == fault.description;
        let sentence = match meant.iter().filter(same).count() {
            1 => sentence,
            _ => format!("{sentence} (fault {})", fault.number),
        };
        outcomes.extend(Watch::of(context, asked, fault, sentence).look_until_settled().await?);
    }
    Ok(outcomes)
}

/// Seconds between two scrapes where nothing else is configured.
const USUAL_INTERVAL: f64 = 60.0;

/// Seconds that a scrape may take, until which its samples may still come, and seconds between two.
async fn longest_scrape(prometheus: &Prometheus) -> Result<(f64, f64)> {
    let targets = prometheus.targets().await?;
    let late = targets.iter().map(|target| seconds_of(&target.scrape_timeout).unwrap_or(USUAL_TIMEOUT));
    let apart = targets.iter().map(|target| seconds_of(&target.scrape_interval).unwrap_or(USUAL_INTERVAL));
    Ok((late.fold(LATE, f64::max), apart.reduce(f64::max).unwrap_or(USUAL_INTERVAL)))
}

/// What is looked for of one fault.
struct Watch<'a> {
    context: &'a CheckContext<'a>,
    asked: &'a DetectedCheck,
    fault: &'a FaultEvent,
    told: Told,
    /// What shows it, and how its value compares while it does.
    sign: Option<(Sign, Comparison)>,
}

impl<'a> Watch<'a> {
    fn of(
        context: &'a CheckContext<'a>,
        asked: &'a DetectedCheck,
        fault: &'a FaultEvent,
        sentence: String,
    ) -> Watch<'a> {
        let positive = Comparison { operator: Operator::More, value: 0.0 };
        let sign = match &asked.expr {
            Some(expr) => Some((Sign { shown: expr.clone(), over: None }, asked.is.unwrap_or(positive))),
            None => fault.sign.clone().map(|sign| (sign, positive)),
        };
        let mut evidence = json!({"fault": fault.number, "description": fault.description});
        if let Some((sign, is)) = &sign {
            evidence["expr"] = json!(sign.shown);
            evidence["is"] = json!(is);
            if let Some(over) = &sign.over {
                evidence["over"] = json!(over);
            }
        }
        Watch { context, asked, fault, told: Told { sentence, evidence }, sign }
    }

    async fn look_until_settled(&self) -> Result<Vec<Outcome>> {
        let Some((sign, is)) = &self.sign else {
            return Ok(self.told.blind("It is not known what shows it: name an expression."));
        };
        let Some(window) = self.window() else {
            return Ok(self.told.blind("It was not undone, or Prometheus did not tell when."));
        };
        let prometheus = match self.context.prometheus() {
            Ok(prometheus) => prometheus,
            Err(error) => return Ok(self.told.blind(&error.to_string())),
        };
        let mut stopwatch = self.context.patience(self.asked.within.get() + self.asked.recovers.get());
        let mut window = window;
        let mut known = None;
        loop {
            let scrape = match known {
                Some(scrape) => Ok(scrape),
                None => longest_scrape(prometheus).await,
            };
            let looked = match scrape {
                Ok((late, apart)) => {
                    known = Some((late, apart));
                    window.late = late;
                    window.shown_by = window.fault.healed + apart + late + STEP;
                    self.look(prometheus, sign, *is, &window).await
                }
                Err(error) => Err(error),
            };
            let message = match looked {
                Ok((seen, now)) if settled(&seen, &window, now) || self.is_past(now) => {
                    return Ok(self.told.judge(&window, &seen, now));
                }
                Ok((seen, _)) if seen.detected.is_none() => "waiting for it to be seen".to_owned(),
                Ok((_, now)) => {
                    let left = duration((window.over_by - now).max(0.0));
                    format!("waiting for recovery to be seen ({left} left)")
                }
                Err(error) if stopwatch.gives_up(&error) => return Ok(self.told.blind(&error.to_string())),
                Err(error) => format!("waiting for Prometheus: {}", error.what()),
            };
            self.context.waiting(&self.told.sentence, &message)?;
            pause(self.context.interrupt, stopwatch.next()).await?;
        }
    }

    /// Whether nothing later is this run's.
    fn is_past(&self, now: f64) -> bool {
        self.context.horizon.is_some_and(|horizon| now >= horizon)
    }

    fn window(&self) -> Option<Window> {
        let healed = &self.context.faults.healed;
        let times = |fault: &FaultEvent| {
            let healed = healed.iter().find(|healed| healed.id == fault.id)?;
            Some(Times { injected: fault.prometheus_time?, healed: healed.prometheus_time? })
        };
        let others = self.context.faults.injected.iter().filter(|other| other.id != self.fault.id);
        let others: Vec<Times> = others.filter_map(times).collect();
        let load = self.context.load;
        let load = Load { started: load.prometheus_started, ended: load.prometheus_ended };
        Some(Window::of(times(self.fault)?, &others, load, self.asked))
    }

    async fn look(
        &self,
        prometheus: &Prometheus,
        sign: &Sign,
        is: Comparison,
        window: &Window,
    ) -> Result<(Seen, f64)> {
        let now = self.context.time().await?.min(self.context.horizon.unwrap_or(f64::MAX));
        let (from, to) = (window.before - 5.0 * STEP, now.min(window.over_by));
        let shown = prometheus.evaluations(&sign.shown, from, to, STEP).await?;
        let shown = Evaluations::of(&shown, |value| is.holds(value));
        let over = match &sign.over {
            None => shown.negated(),
            Some(over) => {
                Evaluations::of(&prometheus.evaluations(over, from, to, STEP).await?, |value| value > 0.0)
            }
        };
        Ok((seen(&shown, &over, window, now), now))
    }
}
