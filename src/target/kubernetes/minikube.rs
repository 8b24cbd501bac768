//! The cluster that `sre` provisions with minikube.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::minikube_output::{
    Event, Failure, Profile, State, driver, event, has_addon, has_image, profiles, state,
};
use super::program::{Finished, LONG, Program};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::stack;

/// A start that tells nothing for so long hangs: its own waits end after six minutes.
const STALLED: Duration = Duration::from_secs(10 * 60);

/// The `minikube` on PATH, for one profile.
#[derive(Debug, Clone)]
pub struct Minikube {
    profile: String,
    interrupt: Interrupt,
}

impl Minikube {
    /// For a profile; asks minikube nothing.
    pub fn new(profile: &str, interrupt: &Interrupt) -> Minikube {
        Minikube { profile: profile.into(), interrupt: interrupt.clone() }
    }

    /// minikube's version: `v1.38.1`. Missing is a prerequisite that is missing (exit 5).
    pub async fn version(&self) -> Result<String> {
        let finished = Program::new("minikube", ["version", "--short"]).run(&self.interrupt, |_| ()).await?;
        if !finished.success() {
            return Err(gave_up("`minikube version` failed", &finished));
        }
        Ok(finished.stdout.trim().to_owned())
    }

    /// The profile's name.
    pub fn profile_name(&self) -> &str {
        &self.profile
    }

    /// What the profile's cluster is doing.
    pub async fn state(&self) -> Result<State> {
        let finished = self.minikube(["status", "--output", "json"], &mut |_| ()).await?;
        Ok(state(finished.code, &finished.stdout))
    }

    /// What the profile was made with; `None` if it is not there.
    pub async fn profile(&self) -> Result<Option<Profile>> {
        let arguments = ["profile", "list", "--output", "json", "--light"];
        let finished = Program::new("minikube", arguments).run(&self.interrupt, |_| ()).await?;
        let what = "minikube's profiles could not be read";
        if !finished.success() {
            return Err(gave_up(what, &finished));
        }
        let all = profiles(&finished.stdout).map_err(|e| Error::target(what).because(e))?;
        Ok(all.into_iter().find(|profile| profile.name == self.profile))
    }

    /// Creates or starts the profile's cluster; `progress` is told each event. Mends a half-started one.
    pub async fn start(
        &self,
        wanted: &stack::Minikube,
        progress: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<()> {
        let arguments = start_arguments(wanted);
        let last = Mutex::new((Instant::now(), String::new()));
        let mut told = |event: &Event| {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            last.0 = Instant::now();
            if let Event::Step { message, .. } = event {
                last.1.clone_from(message);
            }
            drop(last);
            progress(event);
        };
        let starting = self.minikube(arguments.iter().map(String::as_str), &mut told);
        let finished = tokio::select! {
            finished = starting => finished?,
            step = stalled(&last) => {
                return Err(Error::target(format!("minikube could not start profile `{}`", self.profile))
                    .because_of(format!("it has told nothing for {} min; its last step: {step}", STALLED.as_secs() / 60))
                    .hint(format!("minikube --profile {} logs, or replace it: sre up --fresh", self.profile)));
            }
        };
        if finished.success() {
            return Ok(());
        }
        Err(gave_up(&format!("minikube could not start profile `{}`", self.profile), &finished))
    }

    /// Has minikube judge driver, memory, processors and Kubernetes version without starting anything; the driver that
    /// it would use, where it tells.
    pub async fn check(&self, wanted: &stack::Minikube) -> Result<Option<String>> {
        let arguments = start_arguments(wanted);
        let arguments = arguments.iter().map(String::as_str).chain(["--dry-run"]);
        let finished = self.minikube(arguments, &mut |_| ()).await?;
        if !finished.success() {
            return Err(gave_up(&format!("minikube could not start profile `{}`", self.profile), &finished));
        }
        Ok(driver(&finished.stdout))
    }

    /// Deletes the profile and its cluster; one that is not there is fine.
    pub async fn delete(&self, progress: &mut (dyn FnMut(&Event) + Send)) -> Result<()> {
        let finished = self.minikube(["delete", "--output", "json"], progress).await?;
        if finished.success() {
            return Ok(());
        }
        Err(gave_up(&format!("minikube could not delete profile `{}`", self.profile), &finished))
    }

    /// Stops the cluster; what it holds stays.
    pub async fn stop(&self, progress: &mut (dyn FnMut(&Event) + Send)) -> Result<()> {
        let finished = self.minikube(["stop", "--output", "json"], progress).await?;
        if finished.success() {
            return Ok(());
        }
        Err(gave_up(&format!("minikube could not stop profile `{}`", self.profile), &finished))
    }

    /// Those of these addons that the profile does not have enabled.
    pub async fn lacking<'a>(&self, addons: &'a [String]) -> Result<Vec<&'a str>> {
        if addons.is_empty() {
            return Ok(Vec::new());
        }
        let finished = self.minikube(["addons", "list", "--output", "json"], &mut |_| ()).await?;
        let what = "minikube's addons could not be read";
        if !finished.success() {
            return Err(gave_up(what, &finished));
        }
        let mut lacking = Vec::new();
        for addon in addons {
            if !has_addon(&finished.stdout, addon).map_err(|e| Error::target(what).because(e))? {
                lacking.push(addon.as_str());
            }
        }
        Ok(lacking)
    }

    /// Enables an addon in a cluster that runs.
    pub async fn enable(&self, addon: &str) -> Result<()> {
        let finished = self.minikube(["addons", "enable", addon], &mut |_| ()).await?;
        if finished.success() {
            return Ok(());
        }
        Err(gave_up(&format!("minikube could not enable addon {addon}"), &finished))
    }

    /// Loads an image archive onto every node, and looks whether the image is there: `image load` exits 0 for a
    /// file that does not exist, too.
    pub async fn load(&self, archive: &Path, image: &str) -> Result<()> {
        let path = archive.display().to_string();
        let finished = self.minikube(["image", "load", &path], &mut |_| ()).await?;
        if self.has_image(image).await? {
            return Ok(());
        }
        let error = gave_up(&format!("minikube did not load image {image}"), &finished);
        Err(if error.causes().is_empty() {
            error.because_of("it gives no reason").hint(format!("is profile `{}` running?", self.profile))
        } else {
            error
        })
    }

    /// Whether the cluster has an image, by its full name.
    pub async fn has_image(&self, image: &str) -> Result<bool> {
        let finished = self.minikube(["image", "ls", "--format", "json"], &mut |_| ()).await?;
        let what = "minikube's images could not be read";
        if !finished.success() {
            return Err(gave_up(what, &finished));
        }
        has_image(&finished.stdout, image).map_err(|e| Error::target(what).because(e))
    }

    /// Builds an image from a folder with a Dockerfile, on the cluster's nodes.
    pub async fn build(&self, folder: &Path, image: &str) -> Result<()> {
        let path = folder.display().to_string();
        let finished = self.minikube(["image", "build", "--tag", image, &path, "--all"], &mut |_| ()).await?;
        if finished.success() && self.has_image(image).await? {
            return Ok(());
        }
        Err(gave_up(&format!("minikube could not build image {image} from {path}"), &finished))
    }

    async fn minikube<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
        progress: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<Finished> {
        Program::new("minikube", arguments)
            .arguments(["--profile", &self.profile])
            .within(LONG)
            .run(&self.interrupt, |line| {
                if let Some(event) = event(line) {
                    progress(&event);
                }
            })
            .await
    }
}

/// Comes back when nothing was told for too long, with the last step that was.
async fn stalled(last: &Mutex<(Instant, String)>) -> String {
    loop {
        let (at, step) = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match STALLED.checked_sub(at.elapsed()) {
            Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
            _ => return step,
        }
    }
}

/// The arguments of `minikube start`, but for the profile. minikube itself keeps what an existing profile was
/// made with.
pub fn start_arguments(wanted: &stack::Minikube) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["start", "--output", "json", "--interactive=false"].map(String::from).into();
    let mut option = |name: &str, value: Option<String>| {
        arguments.extend(value.map(|value| format!("--{name}={value}")));
    };
    option("nodes", (wanted.nodes > 1).then(|| wanted.nodes.to_string()));
    option("cpus", wanted.cpus.map(|cpus| cpus.to_string()));
    option("memory", wanted.memory.clone());
    option("driver", wanted.driver.clone());
    option("container-runtime", wanted.container_runtime.clone());
    option("kubernetes-version", wanted.kubernetes_version.clone());
    option("addons", (!wanted.addons.is_empty()).then(|| wanted.addons.join(",")));
    arguments
}

/// How a profile differs from what a stack asks for, in words; `sre up --fresh` would replace it.
pub fn differences(profile: &Profile, wanted: &stack::Minikube) -> Vec<String> {
    let nodes = wanted.nodes.to_string();
    let made = profile.nodes.to_string();
    [
        ("nodes", Some(&nodes), &made),
        ("driver", wanted.driver.as_ref(), &profile.driver),
        ("container runtime", wanted.container_runtime.as_ref(), &profile.container_runtime),
        ("Kubernetes", wanted.kubernetes_version.as_ref(), &profile.kubernetes_version),
    ]
    .into_iter()
    .filter_map(|(what, wanted, made)| {
        let wanted = wanted.filter(|wanted| *wanted != made)?;
        Some(format!("{what}: {made}, and the stack asks for {wanted}"))
    })
    .collect()
}

/// The error of a minikube that gave up: its own reason and advice. What the machine lacks is a prerequisite.
fn gave_up(what: &str, finished: &Finished) -> Error {
    let failure = finished.stdout.lines().filter_map(event).find_map(|event| match event {
        Event::Failure(failure) => Some(failure),
        _ => None,
    });
    let code = failure.as_ref().map(|failure| failure.code).or(finished.code).unwrap_or_default();
    let error = Error::new(exit(code, failure.as_ref().map_or("", |failure| &failure.name)), what);
    match failure {
        Some(Failure { name, message, advice, .. }) => {
            let error = error.because_of(format!("{message} ({name})"));
            // minikube leaves a gap in some of its advice: `--memory={{.advised}}mb`.
            if advice.is_empty() || advice.contains("{{") { error } else { error.hint(advice.trim()) }
        }
        None => {
            let words = finished.stderr.trim();
            if words.is_empty() { error } else { error.because_of(words) }
        }
    }
}

/// minikube's exit codes: 14 usage, 23, 26, 29 too little memory, disk, cores, 50–69 driver and its provider. Some reasons
/// of the same kinds have other codes (`RSRC_OVER_ALLOC_MEM`: 10).
fn exit(code: i32, name: &str) -> Exit {
    const LACKS: [&str; 4] = ["RSRC_", "DRV_", "PROVIDER_", "PR_"];
    match code {
        14 => Exit::Usage,
        23 | 26 | 29 | 50..=69 => Exit::Prerequisite,
        _ if LACKS.iter().any(|lacks| name.starts_with(lacks)) => Exit::Prerequisite,
        _ => Exit::Target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stack_leaves_out_is_minikube_s_choice() {
        let mut wanted = stack::Minikube::default();
        assert_eq!(start_arguments(&wanted), ["start", "--output", "json", "--interactive=false"]);
        wanted.nodes = 3;
        wanted.driver = Some("docker".into());
        wanted.addons = vec!["ingress".into(), "metrics-server".into()];
        assert_eq!(
            start_arguments(&wanted)[4..],
            ["--nodes=3", "--driver=docker", "--addons=ingress,metrics-server"]
        );
    }

    #[test]
    fn a_profile_made_otherwise_is_told_apart() {
        let profile = Profile {
            name: "sre".into(),
            driver: "ssh".into(),
            nodes: 1,
            kubernetes_version: "v1.35.1".into(),
            container_runtime: "containerd".into(),
        };
        let mut wanted = stack::Minikube::default();
        assert_eq!(differences(&profile, &wanted), Vec::<String>::new());
        wanted.nodes = 3;
        assert_eq!(differences(&profile, &wanted), ["nodes: 1, and the stack asks for 3"]);
    }

    #[test]
    fn a_missing_driver_is_a_prerequisite() {
        let finished = Finished {
            code: Some(56),
            stdout: include_str!("../../../tests/minikube/start-bad-driver.out").into(),
            stderr: String::new(),
        };
        let error = gave_up("minikube could not start", &finished);
        assert_eq!(error.exit(), Exit::Prerequisite);
        assert!(error.to_string().contains("'nosuch' is not supported"), "{error}");
    }

    #[test]
    fn the_reason_leads_to_the_exit_code_and_the_advice_is_the_hint() {
        let gave_up = |code, stdout: &str| {
            let finished = Finished { code: Some(code), stdout: stdout.into(), stderr: String::new() };
            super::gave_up("minikube could not start", &finished)
        };
        let docker = gave_up(63, include_str!("../../../tests/minikube/start-docker-driver.out"));
        assert_eq!(docker.exit(), Exit::Prerequisite);
        assert_eq!(docker.next_step(), Some("Start the Docker service"));
        let memory = gave_up(10, include_str!("../../../tests/minikube/start-too-much-memory.out"));
        assert_eq!(memory.exit(), Exit::Prerequisite, "{memory}");
        assert_eq!(memory.next_step(), None, "advice with a gap in it helps nobody");
        let flag = gave_up(14, "");
        assert_eq!(flag.exit(), Exit::Usage);
        let killed = Finished { code: None, stdout: String::new(), stderr: String::new() };
        assert_eq!(super::gave_up("minikube could not start", &killed).exit(), Exit::Target);
    }
}
