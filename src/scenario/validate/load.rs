//! Executors: phases, rates, users, and what holds for every request.

use crate::config::{Path, Problem};
use crate::scenario::{ArrivalRate, Duration, Http, Load, Phase, Users};

/// More than one machine can send; a larger number is a slip of the pen.
const MAX_RATE: f64 = 1_000_000.0;
const MAX_USERS: usize = 100_000;
const MAX_CONNECTIONS: usize = 60_000;
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Redirects and retries of one request.
const MAX_HOPS: u32 = 20;

pub(super) fn load(load: &Load, path: &Path, problems: &mut Vec<Problem>) {
    match load {
        Load::ArrivalRate(arrivals) => arrival_rate(arrivals, &path.key("arrival-rate"), problems),
        Load::Users(closed) => users(closed, &path.key("users"), problems),
    }
}

fn arrival_rate(arrivals: &ArrivalRate, path: &Path, problems: &mut Vec<Problem>) {
    let phases = path.key("phases");
    if arrivals.phases.is_empty() {
        problems.push(Problem::error(&phases, "there must be at least one phase"));
    }
    for (i, one) in arrivals.phases.iter().enumerate() {
        phase(one, &phases.index(i), problems);
    }
    let names = arrivals.phase_names();
    for (i, name) in names.iter().enumerate() {
        let path = phases.index(i).key("name");
        if let Some(why) = unfit_name(name) {
            problems.push(Problem::error(&path, format!("the name of a phase {why}")));
        } else if names[..i].contains(name) {
            problems.push(Problem::error(&path, format!("two phases are called `{name}`")));
        }
    }
    // Half a request is none.
    if !arrivals.phases.is_empty() && arrivals.expected_requests() < 1.0 {
        problems.push(Problem::error(&phases, "this load sends not a single request"));
    }
    if !(1..=MAX_CONNECTIONS).contains(&arrivals.connections) {
        let message = format!("`connections` must be from 1 to {MAX_CONNECTIONS}");
        problems.push(Problem::error(&path.key("connections"), message));
    }
    http(&arrivals.http, &path.key("http"), problems);
}

fn phase(phase: &Phase, path: &Path, problems: &mut Vec<Problem>) {
    duration(phase.duration, &path.key("duration"), problems);
    for (key, rate) in [("rate", Some(phase.rate)), ("to", phase.to)] {
        if rate.is_some_and(|rate| rate.get() > MAX_RATE) {
            problems.push(Problem::error(&path.key(key), format!("a rate is at most {MAX_RATE}/s")));
        }
    }
    for (key, given) in [("steps", phase.steps.is_some()), ("period", phase.period.is_some())] {
        if given && phase.to.is_none() {
            problems.push(
                Problem::key_error(&path.key(key), format!("`{key}` means nothing without `to`"))
                    .help("`to` is the rate that the phase goes to"),
            );
        }
    }
    if phase.steps.is_some() && phase.period.is_some() {
        problems.push(Problem::key_error(&path.key("period"), "a phase has either `steps` or `period`"));
    }
    if phase.steps.is_some_and(|steps| !(2..=1000).contains(&steps)) {
        problems.push(Problem::error(&path.key("steps"), "`steps` must be from 2 to 1000"));
    }
    if let Some(period) = phase.period {
        duration(period, &path.key("period"), problems);
        if period > phase.duration {
            problems
                .push(Problem::warning(&path.key("period"), "the phase ends before one swing is complete"));
        }
    }
}

fn users(users: &Users, path: &Path, problems: &mut Vec<Problem>) {
    if !(1..=MAX_USERS).contains(&users.users) {
        problems.push(Problem::error(&path.key("users"), format!("`users` must be from 1 to {MAX_USERS}")));
    }
    duration(users.duration, &path.key("duration"), problems);
    if users.ramp.is_some_and(|ramp| ramp > users.duration) {
        problems.push(
            Problem::error(&path.key("ramp"), "the load ends before all users have started")
                .help("`duration` includes the `ramp`"),
        );
    }
    http(&users.http, &path.key("http"), problems);
}

fn http(http: &Http, path: &Path, problems: &mut Vec<Problem>) {
    duration(http.timeout, &path.key("timeout"), problems);
    for (key, hops) in [("redirects", http.redirects), ("retries", http.retries)] {
        if hops > MAX_HOPS {
            problems.push(Problem::error(&path.key(key), format!("`{key}` is at most {MAX_HOPS}")));
        }
    }
}

fn duration(duration: Duration, path: &Path, problems: &mut Vec<Problem>) {
    if duration == Duration::default() {
        problems.push(Problem::error(path, "a duration must be longer than nothing"));
    } else if duration > MAX_DURATION {
        problems.push(Problem::error(path, "a duration is at most a week (168h)"));
    }
}

/// Why a name cannot stand in reports and thresholds, if so.
pub(super) fn unfit_name(name: &str) -> Option<&'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() {
        Some("must not be empty")
    } else if name.len() > 64 {
        Some("has at most 64 letters")
    } else if !name.chars().all(fits) {
        Some("has only letters, digits, `-`, `_` and `.`")
    } else {
        None
    }
}
