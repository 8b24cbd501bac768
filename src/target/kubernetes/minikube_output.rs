//! What minikube prints for machines: events, status, profiles.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Something that minikube tells while it works: a line of `-o json`.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step begins.
    Step {
        /// Its number; numbers are skipped.
        current: u32,
        /// The last number.
        total: u32,
        /// What it is doing: `Preparing Kubernetes v1.35.1 on containerd 1.6.20 ...`.
        message: String,
    },
    /// A download goes on.
    Download {
        /// What is downloaded.
        artifact: String,
        /// The share that is done, from 0 to 1.
        progress: f64,
    },
    /// It went on, but something may be wrong.
    Warning(String),
    /// It gives up. (An `error` event without an exit code is advice in a start that goes on: a warning.)
    Failure(Failure),
    /// Anything else.
    Info(String),
}

/// Why minikube gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its name: `RSRC_INSUFFICIENT_REQ_MEMORY`.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// What it advises; may be empty.
    pub advice: String,
    /// Its exit code.
    pub code: i32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EventData {
    message: String,
    name: String,
    advice: String,
    exitcode: String,
    currentstep: String,
    totalsteps: String,
    artifact: String,
    progress: String,
}

/// Reads one line of `-o json`; `None` if it is not an event.
pub fn event(line: &str) -> Option<Event> {
    #[derive(Deserialize)]
    struct CloudEvent {
        r#type: String,
        #[serde(default)]
        data: EventData,
    }
    let CloudEvent { r#type, data } = serde_json::from_str(line).ok()?;
    Some(match r#type.strip_prefix("io.k8s.sigs.minikube.")? {
        "step" => Event::Step {
            current: data.currentstep.parse().ok()?,
            total: data.totalsteps.parse().ok()?,
            message: data.message,
        },
        "download.progress" => {
            Event::Download { artifact: data.artifact, progress: data.progress.parse().ok()? }
        }
        "error" => match data.exitcode.parse() {
            Ok(code) => {
                Event::Failure(Failure { name: data.name, message: data.message, advice: data.advice, code })
            }
            Err(_) => Event::Warning(data.message),
        },
        "warning" => Event::Warning(data.message),
        _ => Event::Info(data.message),
    })
}

/// The driver that a start tells of: `Using the docker driver based on user configuration`.
pub fn driver(stdout: &str) -> Option<String> {
    stdout.lines().filter_map(event).find_map(|event| match event {
        Event::Step { message, .. } => {
            let (driver, _) = message.split_once("sing the ")?.1.split_once(" driver")?;
            Some(driver.to_owned())
        }
        _ => None,
    })
}

/// What a profile's cluster is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no such profile.
    Absent,
    /// Every node runs.
    Running,
    /// It is paused, stopped or half-started: `minikube start` mends each.
    Down,
}

/// Reads `status -o json` and its exit code (a bit mask; 85: no such profile).
pub fn state(code: Option<i32>, stdout: &str) -> State {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Node {
        host: String,
        kubelet: String,
        #[serde(rename = "APIServer", default)]
        api_server: String,
        #[serde(default)]
        worker: bool,
    }
    if code == Some(85) {
        return State::Absent;
    }
    let nodes: Vec<Node> = match serde_json::from_str(stdout) {
        Ok(nodes) => nodes,
        Err(_) => serde_json::from_str(stdout).map(|node| vec![node]).unwrap_or_default(),
    };
    let up = |node: &Node| {
        node.host == "Running" && node.kubelet == "Running" && (node.worker || node.api_server == "Running")
    };
    if code == Some(0) && !nodes.is_empty() && nodes.iter().all(up) { State::Running } else { State::Down }
}

/// A profile as `profile list -o json --light` has it: what it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// How many nodes.
    pub nodes: usize,
    /// The Kubernetes version: `v1.35.1`.
    pub kubernetes_version: String,
    /// `containerd`, `cri-o` or `docker`.
    pub container_runtime: String,
}

/// Reads `profile list -o json`: the valid profiles.
pub fn profiles(stdout: &str) -> serde_json::Result<Vec<Profile>> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        valid: Option<Vec<Entry>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        name: String,
        config: Config,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        driver: String,
        kubernetes_config: Kubernetes,
        #[serde(default)]
        nodes: Option<Vec<serde_json::Value>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Kubernetes {
        kubernetes_version: String,
        container_runtime: String,
    }
    let list: List = serde_json::from_str(stdout)?;
    let profile = |entry: Entry| Profile {
        name: entry.name,
        driver: entry.config.driver,
        nodes: entry.config.nodes.map_or(0, |nodes| nodes.len()),
        kubernetes_version: entry.config.kubernetes_config.kubernetes_version,
        container_runtime: entry.config.kubernetes_config.container_runtime,
    };
    Ok(list.valid.unwrap_or_default().into_iter().map(profile).collect())
}

/// Whether `addons list --output json` tells that an addon is enabled.
pub fn has_addon(stdout: &str, addon: &str) -> serde_json::Result<bool> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Addon {
        status: String,
    }
    let addons: BTreeMap<String, Addon> = serde_json::from_str(stdout)?;
    Ok(addons.get(addon).is_some_and(|addon| addon.status == "enabled"))
}

/// Whether `image ls --format json` lists an image, by its full name.
pub fn has_image(stdout: &str, image: &str) -> serde_json::Result<bool> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        #[serde(default)]
        repo_tags: Option<Vec<String>>,
    }
    let images: Vec<Listed> = serde_json::from_str(stdout)?;
    Ok(images.iter().flat_map(|listed| listed.repo_tags.iter().flatten()).any(|tag| tag == image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_succeeds_has_warnings_and_no_failure() {
        let events: Vec<Event> = include_str!("../../../tests/minikube/start.out")
            .lines()
            .map(|line| event(line).unwrap())
            .collect();
        assert!(!events.iter().any(|event| matches!(event, Event::Failure(_))));
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Warning(_))).count(), 2);
        let Some(Event::Step { current, total, message }) = events.last() else {
            panic!("the last event is a step: {:?}", events.last())
        };
        assert_eq!((*current, *total), (19, 19));
        assert!(message.starts_with("Done!"), "{message}");
    }

    #[test]
    fn a_start_that_fails_says_why() {
        let events = include_str!("../../../tests/minikube/start-bad-driver.out").lines().filter_map(event);
        let failures: Vec<Event> = events.filter(|event| matches!(event, Event::Failure(_))).collect();
        assert_eq!(
            failures,
            [Event::Failure(Failure {
                name: "DRV_UNSUPPORTED_OS".into(),
                message: "The driver 'nosuch' is not supported on linux/amd64".into(),
                advice: String::new(),
                code: 56,
            })]
        );
        assert_eq!(event("not JSON"), None);
    }

    #[test]
    fn a_dry_run_tells_the_driver() {
        assert_eq!(driver(include_str!("../../../tests/minikube/start-dry-run.out")).as_deref(), Some("ssh"));
        assert_eq!(driver("not JSON"), None);
    }

    #[test]
    fn status_is_read_by_output_and_exit_code() {
        let running = include_str!("../../../tests/minikube/status.out");
        assert_eq!(state(Some(0), running), State::Running);
        assert_eq!(state(Some(7), include_str!("../../../tests/minikube/status-stopped.out")), State::Down);
        assert_eq!(state(Some(85), include_str!("../../../tests/minikube/status-none.out")), State::Absent);
        assert_eq!(state(Some(7), "null"), State::Down);
        assert_eq!(state(Some(0), "null"), State::Down, "nothing seen is not running");
        let worker = r#"{"Name":"m02","Host":"Running","Kubelet":"Running","APIServer":"Irrelevant","Kubeconfig":"Irrelevant","Worker":true}"#;
        assert_eq!(state(Some(0), &format!("[{running},{worker}]")), State::Running);
        let stopped = worker.replace("\"Kubelet\":\"Running\"", "\"Kubelet\":\"Stopped\"");
        assert_eq!(state(Some(2), &format!("[{running},{stopped}]")), State::Down);
    }

    #[test]
    fn profiles_tell_what_they_were_made_with() {
        let profiles_read = profiles(include_str!("../../../tests/minikube/profile-list.out")).unwrap();
        assert_eq!(
            profiles_read,
            [Profile {
                name: "minikube".into(),
                driver: "ssh".into(),
                nodes: 1,
                kubernetes_version: "v1.35.1".into(),
                container_runtime: "containerd".into(),
            }]
        );
        assert_eq!(profiles(r#"{"invalid":[],"valid":[]}"#).unwrap(), []);
    }

    #[test]
    fn an_addon_is_enabled_or_not_or_unknown() {
        let list = r#"{"ingress":{"Profile":"sre","Status":"disabled"},"metrics-server":{"Profile":"sre","Status":"enabled"}}"#;
        let has = |addon| has_addon(list, addon).unwrap();
        assert!(has("metrics-server") && !has("ingress") && !has("nosuch"));
    }

    #[test]
    fn an_image_is_found_by_its_full_name() {
        let list = r#"[{"id":"sha256:1","repoTags":["docker.io/library/sre:0.1"]},{"id":"sha256:2","repoTags":null}]"#;
        assert!(has_image(list, "docker.io/library/sre:0.1").unwrap());
        assert!(!has_image(list, "docker.io/library/sre:0.2").unwrap());
    }
}
