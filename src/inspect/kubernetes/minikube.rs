//! Whether the target `minikube` can work: minikube itself judges driver, memory and version in a dry run.

use std::path::PathBuf;

use sysinfo::System;

use super::cluster::{INSTALL_HELM, of_error, on};
use crate::error::Result;
use crate::inspect::{Finding, machine};
use crate::interrupt::Interrupt;
use crate::stack;
use crate::target::kubernetes::helm::Helm;
use crate::target::kubernetes::minikube::{Minikube, differences};
use crate::target::kubernetes::minikube_output::State;
use crate::target::kubernetes::up::Request;

/// What minikube's own requirements name: an image of the machine, Kubernetes' images and those of the stack.
const DISK: u64 = 20_000_000_000;

/// Drivers whose nodes are this machine's, or run on it.
const ELSEWHERE: [&str; 1] = ["ssh"];

/// Looks at all that `up` needs to provision a cluster by minikube, and at the cluster where it runs; changes nothing.
///
/// # Errors
/// Usage (2) where the stack cannot run on a cluster or its files are wrong.
pub async fn minikube(request: &Request<'_>, interrupt: &Interrupt) -> Result<Vec<Finding>> {
    let wanted = &request.cluster_stack()?.minikube;
    let program = Minikube::new(&wanted.profile, interrupt);
    let mut findings = machine(request.folder);
    match program.version().await {
        Ok(version) => findings.push(Finding::ok("minikube", version)),
        Err(error) => {
            findings.push(of_error(
                "minikube",
                &error,
                "install it: https://minikube.sigs.k8s.io/docs/start/",
            ));
            return Ok(findings);
        }
    }
    let state = match program.state().await {
        Ok(state) => state,
        Err(error) => {
            findings.push(of_error("profile", &error, "minikube status"));
            return Ok(findings);
        }
    };
    findings.push(profile(&program, state, wanted).await);
    if state == State::Running {
        findings.extend(on(request, Some(&wanted.profile), Some(&wanted.profile), interrupt).await?);
        return Ok(findings);
    }
    let driver = match program.check(wanted).await {
        Ok(driver) => {
            findings.push(Finding::ok("driver", driver.as_deref().unwrap_or("minikube's own choice")));
            driver
        }
        Err(error) => {
            findings.push(of_error("driver", &error, "minikube start --help lists the drivers"));
            None
        }
    };
    // The memory and the disk of a machine that is reached over the network are not this one's.
    if !driver.is_some_and(|driver| ELSEWHERE.contains(&driver.as_str())) {
        findings.push(memory(wanted));
        findings.push(disk());
    }
    if !request.steps(&request.values(None))?.has_charts() {
        return Ok(findings);
    }
    match Helm::version_of("helm", interrupt).await {
        Ok(version) => findings.push(Finding::ok("helm", version)),
        Err(error) => findings.push(of_error("helm", &error, INSTALL_HELM)),
    }
    Ok(findings)
}

async fn profile(program: &Minikube, state: State, wanted: &stack::Minikube) -> Finding {
    const NAME: &str = "profile";
    let (what, hint) = match state {
        State::Absent => {
            return Finding::ok(NAME, format!("`{}` is not there; sre up makes it", wanted.profile));
        }
        State::Running => ("runs", "sre up --fresh replaces it"),
        State::Down => ("is stopped, paused or half-started; sre up starts it", "sre up --fresh replaces it"),
    };
    let differing = match program.profile().await {
        Ok(Some(profile)) => differences(&profile, wanted),
        Ok(None) | Err(_) => Vec::new(),
    };
    let message = format!("`{}` {what}", wanted.profile);
    if differing.is_empty() {
        Finding::ok(NAME, message)
    } else {
        Finding::warning(NAME, format!("{message}\n{}", differing.join("\n")), hint)
    }
}

fn memory(wanted: &stack::Minikube) -> Finding {
    const NAME: &str = "memory";
    let Some(each) = wanted.memory.as_deref().and_then(megabytes) else {
        return Finding::ok(NAME, "as minikube chooses");
    };
    let all = each * u64::from(wanted.nodes.max(1));
    let Ok(mut system) = System::new() else {
        return Finding::warning(NAME, "the system does not tell", "free -m");
    };
    system.refresh_memory();
    let available = system.available_memory() / 1_048_576;
    let message = format!("{available} MiB available, {all} MiB for {} node(s)", wanted.nodes.max(1));
    if available < all {
        return Finding::warning(
            NAME,
            message,
            "end other programs, or ask for less in the stack: minikube.memory",
        );
    }
    Finding::ok(NAME, message)
}

/// MiB of minikube's notation: `4g`, `4096`, `4096mb`. `max` and `no-limit` are none.
fn megabytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.trim().parse().ok()?;
    let by = match &lower[digits.len()..] {
        "" | "m" | "mb" | "mib" => 1.0,
        "g" | "gb" | "gib" => 1024.0,
        "k" | "kb" | "kib" => 1.0 / 1024.0,
        _ => return None,
    };
    Some((number * by).round() as u64)
}

fn disk() -> Finding {
    const NAME: &str = "minikube's disk";
    let home = std::env::var_os("MINIKUBE_HOME").map(PathBuf::from).or_else(|| {
        #[allow(deprecated)]
        std::env::home_dir().map(|home| home.join(".minikube"))
    });
    let Some(home) = home else {
        return Finding::warning(
            NAME,
            "neither MINIKUBE_HOME nor a home folder is known",
            "export MINIKUBE_HOME=…",
        );
    };
    match crate::target::Folder::at(&home).free() {
        Ok(free) if free < DISK => Finding::warning(
            NAME,
            format!(
                "{} MB free in {}, minikube asks for {} MB",
                free / 1_000_000,
                home.display(),
                DISK / 1_000_000
            ),
            "free space there, or name another folder: export MINIKUBE_HOME=/some/folder",
        ),
        Ok(free) => Finding::ok(NAME, format!("{} MB free in {}", free / 1_000_000, home.display())),
        Err(error) => Finding::warning(
            NAME,
            format!("{}: {error}", home.display()),
            "export MINIKUBE_HOME=/some/folder",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_minikube_writes_it() {
        for (text, mib) in [("4g", 4096), ("4096", 4096), ("2048mb", 2048), ("1.5g", 1536)] {
            assert_eq!(megabytes(text), Some(mib), "{text}");
        }
        assert_eq!(megabytes("max"), None);
        assert_eq!(megabytes("no-limit"), None);
    }
}
