//! `sre` as its users call it: the time of a verdict, and of a start.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::page::{Row, Section};

/// Checks of the scenario whose verdict is timed.
const CHECKS: usize = 100;

/// How long `sre verify` takes for a hundred checks, in a lab on loopback.
pub fn hundred_checks(place: &Path) -> Section {
    let mut section = Section::new(
        "A verdict",
        "`sre verify` judges a run by 100 PromQL expressions, asked of a real Prometheus on loopback.",
    );
    let lab = place.join("lab");
    let told = match measure(&lab) {
        Ok(took) => {
            let held = took < Duration::from_secs(1);
            Row::goal(
                &format!("{CHECKS} checks"),
                format!("{:.2} s", took.as_secs_f64()),
                "< 1 s",
                Some(held),
            )
        }
        Err(why) => Row::goal(&format!("{CHECKS} checks"), format!("not measured: {why}"), "< 1 s", None),
    };
    let _ = sre(&lab, &["down", "--yes"]);
    section.row(told);
    section
}

fn measure(lab: &Path) -> Result<Duration, String> {
    std::fs::create_dir_all(lab).map_err(|e| e.to_string())?;
    let checks: String = (0..CHECKS)
        .map(|number| format!("  - promql: {{expr: 'count(up) + {number}', is: '> {number}'}}\n"))
        .collect();
    let scenario = format!(
        "name: many\nload: {{arrival-rate: {{phases: [{{duration: 2s, rate: 50}}]}}}}\n\
         requests: {{ok: {{path: /}}}}\nchecks:\n{checks}"
    );
    std::fs::write(lab.join("many.yaml"), scenario).map_err(|e| e.to_string())?;
    succeeded(sre(lab, &["up", "--target", "local", "--yes", "--quiet"]))?;
    succeeded(sre(lab, &["run", "./many.yaml", "--quiet"]))?;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        succeeded(sre(lab, &["verify", "--quiet"]))?;
        best = best.min(began.elapsed());
    }
    Ok(best)
}

fn sre(folder: &Path, arguments: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
    command.args(arguments).current_dir(folder).env_remove("SRE_TARGET");
    command.output().map_err(|e| e.to_string())
}

fn succeeded(ran: Result<Output, String>) -> Result<(), String> {
    let ran = ran?;
    if ran.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    let first = told.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing was told").to_owned();
    Err(format!("{}: {first}", ran.status))
}

/// How long `sre --help` takes.
pub fn start_up() -> Section {
    let mut section = Section::new("A start", "The fastest of 20.");
    let took = (0..20).map(|_| {
        let began = Instant::now();
        let ended = sre(Path::new("."), &["--help"]);
        assert!(ended.is_ok_and(|output| output.status.success()));
        began.elapsed().as_secs_f64() * 1000.0
    });
    section.row(Row::told("sre --help", format!("{:.1} ms", took.fold(f64::INFINITY, f64::min))));
    section
}
