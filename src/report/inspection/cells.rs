//! What the screen and the Markdown have in common: the figures as they are written.

use crate::figures::{NOTHING, bound, count, counted, latency, percent, rate};
use crate::inspect::system::{
    AtQuantile, ClusterFacts, Inspection, Latencies, Latency, Loss, PrometheusFacts, Rates, SHOWN, Spread,
    Verdict, Window, Workload,
};

/// What stands where there is no figure because nothing happened.
pub(super) const IDLE: &str = "idle";

/// The titles of latencies: `p25`, …
pub(super) fn quantile_titles() -> Vec<String> {
    SHOWN.iter().map(|q| format!("p{:.0}", q * 100.0)).collect()
}

pub(super) fn quantiles(latencies: &Latencies) -> Vec<String> {
    let cell = |q: &f64| {
        let at = latencies.quantiles.iter().find(|at| at.q == *q);
        at.map_or(IDLE.into(), quantile)
    };
    SHOWN.iter().map(cell).collect()
}

fn quantile(at: &AtQuantile) -> String {
    match at.latency {
        Latency::About { ms, .. } => latency(ms),
        Latency::Below { ms } => format!("< {}", bound(ms)),
        Latency::Above { ms } => format!("> {}", bound(ms)),
    }
}

pub(super) fn requests(latencies: &Latencies) -> String {
    count(latencies.requests.round().max(0.0) as u64)
}

/// Requests a second, and the parts that did not fail and that succeeded.
pub(super) fn rates(rates: &Rates) -> [String; 3] {
    let part = |part: Option<f64>| part.map_or(IDLE.into(), percent);
    [small(rates.per_second), part(rates.non_5xx), part(rates.ok_2xx)]
}

fn small(per_second: f64) -> String {
    match per_second {
        r if r > 0.0 && r < 0.095 => format!("{r:.3}/s"),
        r => rate(r),
    }
}

/// A window, and how much of it data fills where that is less: `5m`, `9m of 15m`.
pub(super) fn window(window: &Window) -> String {
    if window.is_filled() {
        window.promql()
    } else {
        format!("{} of {}", short(window.filled_seconds), window.promql())
    }
}

fn short(seconds: u32) -> String {
    match seconds {
        s if s < 120 => format!("{s}s"),
        s if s < 7200 => format!("{}m", s / 60),
        s => format!("{}h", s / 3600),
    }
}

/// `lab (context lab) · Kubernetes v1.35.4 · 3 of 3 nodes ready, in 3 zones`.
pub(super) fn cluster(facts: &ClusterFacts) -> String {
    let nodes = match facts.nodes {
        None => "its nodes could not be listed".into(),
        Some(nodes) => {
            let zones = match nodes.zones {
                0 => "in no zone".to_owned(),
                zones => format!("in {}", counted(zones as u64, "zone")),
            };
            format!("{} of {} ready, {zones}", nodes.ready, counted(nodes.total as u64, "node"))
        }
    };
    let name = if facts.name == facts.context {
        facts.name.clone()
    } else {
        format!("{} (context {})", facts.name, facts.context)
    };
    format!("{name} · Kubernetes {} · {nodes}", facts.version)
}

/// `3.15.0 · monitoring/prometheus-operated:9090 · by the API server's proxy`.
pub(super) fn prometheus(facts: &PrometheusFacts) -> String {
    format!("{} · {} · {}", facts.version, facts.place, facts.way)
}

/// `3`, or `all 3`, with the zone: `all 2, lab-a`.
pub(super) fn lost(workload: &Workload) -> String {
    match &workload.worst {
        None => NOTHING.into(),
        Some(Loss { takes, .. }) if *takes == workload.pods => format!("all {takes}"),
        Some(Loss { takes, .. }) => format!("{takes} of {}", workload.pods),
    }
}

/// `frontend`, `db (StatefulSet)`.
pub(super) fn workload(workload: &Workload) -> String {
    match workload.kind.as_str() {
        "Deployment" => workload.name.clone(),
        kind => format!("{} ({kind})", workload.name),
    }
}

pub(super) fn zones(workload: &Workload) -> String {
    let mut all: Vec<String> = workload.zones.iter().map(|(zone, pods)| format!("{zone} {pods}")).collect();
    if workload.unscheduled > 0 {
        all.push(format!("on no node {}", workload.unscheduled));
    }
    let told: usize = workload.zones.values().sum();
    let untold = workload.pods - told - workload.unscheduled;
    if untold > 0 {
        all.push(format!("zone unknown {untold}"));
    }
    all.join(", ")
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Even => "even",
        Verdict::Uneven => "uneven",
        Verdict::OneZone => "one zone",
        Verdict::OnePod => "one pod",
        Verdict::NoZones => "no zones",
        Verdict::EveryNode => "every node",
        Verdict::NoPods => "no pods",
    }
}

/// What the loss of the worst zone takes of the whole namespace.
pub(super) fn worst(spread: &Spread) -> String {
    match &spread.worst {
        None => "in which zones they are is not known".into(),
        Some(Loss { zone, takes }) => format!("a lost zone takes {takes} of {}, {zone}", spread.pods),
    }
}

/// The last line: `2 warnings`, and whether all was had.
pub(super) fn end(inspection: &Inspection) -> String {
    let warnings = match inspection.warnings() {
        0 => "no warnings".into(),
        number => counted(number as u64, "warning"),
    };
    match inspection.exit().code() {
        0 => warnings,
        code => format!("{warnings} · something could not be had, see ? · exit {code}"),
    }
}

/// A figure's window as the end of its line; nothing for what is so now.
pub(super) fn over(window_of: Option<&Window>) -> String {
    window_of.map_or(String::new(), |window_of| format!(" · {}", window(window_of)))
}
