//! What a load will be, in words and numbers.

use std::sync::Arc;

use super::Schedule;
use crate::run::LoadPlan;
use crate::scenario::{Duration, Load, Phase, Scenario, Spacing, Users};

/// The name of the one phase of the closed model.
pub(super) const USERS_PHASE: &str = "users";

/// What the load of a scenario will be.
pub fn plan(scenario: &Scenario) -> LoadPlan {
    let requests = scenario.requests.keys().cloned().collect();
    match &scenario.load {
        Load::ArrivalRate(load) => {
            let schedule = Arc::new(Schedule::new(scenario, load));
            let shapes: Vec<String> = load.phases.iter().map(shape).collect();
            let chance = if load.spacing == Spacing::Poisson { " (Poisson)" } else { "" };
            LoadPlan {
                executor: "arrival-rate".into(),
                shape: shapes.join(", ") + chance,
                seconds: schedule.seconds(),
                asked: Some(schedule.asked()),
                requests,
            }
        }
        Load::Users(users) => LoadPlan {
            executor: "users".into(),
            shape: closed(users),
            seconds: users.duration.as_secs_f64(),
            asked: None,
            requests,
        },
    }
}

/// A length of time: up to two minutes in seconds, `60 s`; else as `5m`.
fn length(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if (1.0..=120.0).contains(&seconds) { format!("{seconds} s") } else { duration.to_string() }
}

fn shape(phase: &Phase) -> String {
    let lasts = length(phase.duration);
    match (phase.to, phase.period, phase.steps) {
        (Some(to), Some(period), _) => {
            format!("{} to {to} and back every {} for {lasts}", phase.rate, length(period))
        }
        (Some(to), None, Some(steps)) if steps > 0 => {
            format!("{} to {to} in {steps} steps over {lasts}", phase.rate)
        }
        (Some(to), None, _) => format!("{} to {to} over {lasts}", phase.rate),
        (None, ..) => format!("{} for {lasts}", phase.rate),
    }
}

fn closed(users: &Users) -> String {
    let number = if users.users == 1 { "1 user".into() } else { format!("{} users", users.users) };
    let mut text = format!("{number} for {}", length(users.duration));
    if let Some(ramp) = users.ramp {
        text += &format!(", ramp {}", length(ramp));
    }
    if let Some(think) = users.think {
        text += &format!(", think {think}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(load: serde_json::Value) -> LoadPlan {
        let scenario = serde_json::json!({"name": "test", "load": load, "requests": {"a": {"path": "/"}}});
        plan(&serde_json::from_value(scenario).expect("a scenario"))
    }

    #[test]
    fn a_plan_reads_as_one_would_say_it() {
        let rate =
            |phases: serde_json::Value| planned(serde_json::json!({"arrival-rate": {"phases": phases}}));
        let one = rate(serde_json::json!([{"duration": "60s", "rate": "200/s"}]));
        assert_eq!((one.shape.as_str(), one.asked, one.seconds), ("200/s for 60 s", Some(12_000), 60.0));
        let spike = rate(serde_json::json!([
            {"duration": "10s", "rate": 50},
            {"duration": "5s", "rate": 50, "to": 500},
            {"duration": "10s", "rate": 10, "to": 20, "steps": 2},
            {"duration": "5m", "rate": 10, "to": 20, "period": "30s"},
        ]));
        assert_eq!(
            spike.shape,
            "50/s for 10 s, 50/s to 500/s over 5 s, 10/s to 20/s in 2 steps over 10 s, 10/s to 20/s and back every 30 s for 5m"
        );
        let users =
            planned(serde_json::json!({"users": {"users": 10, "duration": "30s", "think": "100ms..300ms"}}));
        assert_eq!((users.shape.as_str(), users.asked), ("10 users for 30 s, think 100ms..300ms", None));
    }
}
