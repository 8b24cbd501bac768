//! How much load a scenario asks for, in numbers and in words.

use super::{ArrivalRate, Check, Duration, FaultStep, Load, Phase, Rate, Users};

impl Load {
    /// How long the load lasts.
    pub fn duration(&self) -> Duration {
        match self {
            Load::ArrivalRate(arrivals) => arrivals
                .phases
                .iter()
                .map(|phase| phase.duration.get())
                .fold(std::time::Duration::ZERO, std::time::Duration::saturating_add)
                .into(),
            Load::Users(users) => users.duration,
        }
    }

    /// The executor's name in files: `arrival-rate` or `users`.
    pub fn executor(&self) -> &'static str {
        match self {
            Load::ArrivalRate(_) => "arrival-rate",
            Load::Users(_) => "users",
        }
    }

    /// The shape in words: `200/s for 1m`, `20/s → 400/s → 20/s over 45s`.
    pub fn in_words(&self) -> String {
        match self {
            Load::ArrivalRate(arrivals) => match arrivals.phases.as_slice() {
                [phase] => phase.in_words(),
                _ => format!("{} over {}", arrivals.rates_in_words(), self.duration()),
            },
            Load::Users(users) => users.in_words(),
        }
    }
}

impl ArrivalRate {
    /// The phases' names, in their order; `phase-1`, … where none is given.
    pub fn phase_names(&self) -> Vec<String> {
        let name =
            |(i, phase): (usize, &Phase)| phase.name.clone().unwrap_or_else(|| format!("phase-{}", i + 1));
        self.phases.iter().enumerate().map(name).collect()
    }

    /// How many requests the phases ask for, with a fraction at the end.
    pub fn expected_requests(&self) -> f64 {
        let requests = |phase: &Phase| {
            // Ramps, steps and swings are symmetric around their middle; a swing that is cut off is not, by little.
            let mean = phase.to.map_or(phase.rate.get(), |to| (phase.rate.get() + to.get()) / 2.0);
            mean * phase.duration.as_secs_f64()
        };
        self.phases.iter().map(requests).sum()
    }

    /// The rates that the load goes through, each once in a row.
    fn rates_in_words(&self) -> String {
        let mut rates: Vec<Rate> =
            self.phases.iter().flat_map(|phase| [Some(phase.rate), phase.to]).flatten().collect();
        rates.dedup();
        rates.iter().map(Rate::to_string).collect::<Vec<_>>().join(" → ")
    }
}

impl Phase {
    /// In words: `20/s → 400/s in 5 steps over 10s`.
    pub fn in_words(&self) -> String {
        let Phase { rate, duration, .. } = self;
        match (self.to, self.steps, self.period) {
            (None, _, _) => format!("{rate} for {duration}"),
            (Some(to), Some(steps), _) => format!("{rate} → {to} in {steps} steps over {duration}"),
            (Some(to), None, Some(period)) => format!("{rate} ↔ {to} every {period} for {duration}"),
            (Some(to), None, None) => format!("{rate} → {to} over {duration}"),
        }
    }
}

impl Users {
    fn in_words(&self) -> String {
        let ramp = self.ramp.map(|ramp| format!(", started over {ramp}")).unwrap_or_default();
        let think = self.think.map(|think| format!(", thinking {think}")).unwrap_or_default();
        let users = if self.users == 1 { "1 user".into() } else { format!("{} users", self.users) };
        format!("{users} for {}{ramp}{think}", self.duration)
    }
}

impl FaultStep {
    /// When it ends, after the load's start.
    pub fn end(&self) -> Duration {
        self.at.get().saturating_add(self.lasts.get()).into()
    }

    /// In words: `latency 2s at 10s for 15s on every replica`.
    pub fn in_words(&self) -> String {
        let on = match (&self.on, &self.replicas) {
            (Some(aim), _) => format!("on {aim}"),
            (None, None) => "on every replica".into(),
            (None, Some(numbers)) => {
                let list = numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
                format!("on replica {list}")
            }
        };
        format!("{} at {} for {} {on}", self.fault, self.at, self.lasts)
    }
}

impl Check {
    /// In words: `HighErrorRate fires within 30s, resolves within 1m, is notified`.
    pub fn in_words(&self) -> String {
        match self {
            Check::Targets(check) if check.jobs.is_empty() => "every target is scraped".into(),
            Check::Targets(check) => format!("every target of {} is scraped", check.jobs.join(", ")),
            Check::Series(check) => format!("there is {}", check.series),
            Check::Promql(check) => {
                check.name.clone().unwrap_or_else(|| format!("{} {}", check.expr.trim(), check.is))
            }
            Check::Reconcile(check) if check.tolerance == 0 => "every request is counted, exactly".into(),
            Check::Reconcile(check) => format!("every request is counted, but for {}", check.tolerance),
            Check::Alert(check) => {
                let notified = if check.notified { ", is notified" } else { "" };
                format!(
                    "{} fires within {}, resolves within {}{notified}",
                    check.name, check.fires, check.resolves
                )
            }
            Check::Detected(check) => {
                format!("{} within {}, over within {}", check.sentence(), check.within, check.recovers)
            }
            Check::NoAlerts(check) if check.except.is_empty() => "no alert fires".into(),
            Check::NoAlerts(check) => format!("no alert fires but {}", check.except.join(", ")),
            Check::Logs(check) => format!("every {} is logged, exactly", check.status),
        }
    }
}
