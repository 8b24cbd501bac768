//! What the pods of a lab write: once, or as it comes, over restarts, new pods and broken connections.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use futures::{AsyncBufReadExt as _, future};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::Cluster;
use super::failure::{call, failed, status};
use super::parts::{LabPod, containers, named, names, pods};
use super::record::ClusterLab;
use crate::config::unknown;
use crate::error::{Error, Result};

/// How often is looked for pods that came meanwhile, and a log that ended is asked for again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the kubelet answers in place of a log that it has not any more.
const GONE: &str = "unable to retrieve container logs for ";

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose: a name as [`named`] knows it.
    pub name: String,
    /// Of which container; of the one that is meant, if left out.
    pub container: Option<String>,
    /// How many of the last lines of each.
    pub lines: usize,
    /// Those of the container before its last restart.
    pub previous: bool,
}

/// A container whose lines are wanted.
#[derive(Debug, Clone)]
struct Source {
    pods: Api<Pod>,
    pod: String,
    uid: String,
    container: String,
    /// Stands before each line, where lines of several pods come together.
    prefix: String,
}

/// A line, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    at: Option<Timestamp>,
    text: String,
}

impl Line {
    /// Reads `2026-11-21T06:40:12.5Z text`.
    fn read(line: &str) -> Line {
        let line = line.trim_end_matches(['\n', '\r']);
        match line.split_once(' ').map(|(at, text)| (at.parse(), text)) {
            Some((Ok(at), text)) => Line { at: Some(at), text: text.to_owned() },
            // An empty line has nothing after its time.
            _ => match line.parse() {
                Ok(at) => Line { at: Some(at), text: String::new() },
                Err(_) => Line { at: None, text: line.to_owned() },
            },
        }
    }
}

/// The last lines that were written, in the order of their time, each with the name of its pod where there are
/// several.
///
/// # Errors
/// 2 for a name or a container that is not there, 6 where none of the logs can be had; `warn` is told of some.
pub async fn last(
    cluster: &Cluster,
    place: &ClusterLab,
    wanted: &Wanted,
    warn: &dyn Fn(&str),
) -> Result<Vec<String>> {
    let sources = sources(cluster, &pods(cluster, place).await?, wanted)?;
    let logs = future::join_all(sources.iter().map(|source| source.last(wanted))).await;
    let mut lines = Vec::new();
    let mut errors = Vec::new();
    for (source, log) in sources.iter().zip(logs) {
        match log {
            Ok(log) => {
                lines.extend(log.into_iter().map(|line| (line.at, format!("{}{}", source.prefix, line.text))))
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.len() == sources.len()
        && let Some(error) = errors.pop()
    {
        return Err(error);
    }
    errors.iter().for_each(|error| warn(error.what()));
    // Lines of one log are in their order already, and stay in it.
    if sources.len() > 1 {
        lines.sort_by_key(|(at, _)| *at);
    }
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

/// Gives each line to `out` as it is written, those that [`last`] gives first, until `out` fails or the named pod
/// is gone for good. `say` is told of pods that come and containers that end.
///
/// # Errors
/// As for [`last`], and where a log could not be followed at all (6).
pub async fn follow(
    cluster: &Cluster,
    place: &ClusterLab,
    wanted: &Wanted,
    out: &mut dyn FnMut(&str) -> Result<()>,
    say: &dyn Fn(&str),
) -> Result<()> {
    let (sender, mut lines) = mpsc::channel::<String>(1000);
    let mut following = JoinSet::new();
    let mut known = HashSet::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let there = pods(cluster, place).await?;
    let prefixed = sources(cluster, &there, wanted)?.len() > 1;
    let one_pod = there.iter().any(|pod| pod.name == wanted.name);
    loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => out(&line)?,
            Some(ended) = following.join_next() => {
                if let Ok((pod, why)) = ended {
                    match why {
                        Some(why) => return Err(why),
                        None => say(&format!("{pod} is at its end")),
                    }
                }
                if one_pod {
                    return Ok(());
                }
            }
            _ = look.tick() => {
                // An API server that does not answer for a moment ends nothing; a name that is gone may come back.
                let Ok(pods) = pods(cluster, place).await else { continue };
                let Ok(found) = sources(cluster, &pods, wanted) else { continue };
                let first = known.is_empty();
                for mut source in found {
                    if !known.insert((source.pod.clone(), source.uid.clone())) {
                        continue;
                    }
                    if !first {
                        say(&format!("{} is new", source.pod));
                    }
                    if !prefixed {
                        source.prefix.clear();
                    }
                    // All of what is new is wanted, and the last lines of what was there.
                    let tail = if first { Some(wanted.lines) } else { None };
                    following.spawn(source.follow(tail, sender.clone()));
                }
            }
        }
    }
}

/// Whose lines are wanted.
fn sources(cluster: &Cluster, pods: &[LabPod], wanted: &Wanted) -> Result<Vec<Source>> {
    let found = named(pods, &wanted.name);
    if found.is_empty() {
        return Err(Error::usage(format!("the lab has no `{}`", wanted.name))
            .hint(format!("{}; or a pod's name, see `sre status`", unknown(&wanted.name, names(pods)))));
    }
    let several = found.len() > 1;
    let source = |pod: &&LabPod| {
        let all = containers(&pod.object);
        let container = match &wanted.container {
            None => all.first().copied(),
            Some(name) => all.iter().copied().find(|known| known == name),
        };
        let container = container.ok_or_else(|| {
            let name = wanted.container.as_deref().unwrap_or_default();
            Error::usage(format!("pod {} has no container `{name}`", pod.name))
                .hint(unknown(name, all.iter().copied()))
        })?;
        Ok(Source {
            pods: Api::namespaced(cluster.client(), &pod.namespace),
            pod: pod.name.clone(),
            uid: pod.uid().to_owned(),
            container: container.to_owned(),
            // As kubectl logs --prefix has it.
            prefix: if several { format!("[pod/{}/{container}] ", pod.name) } else { String::new() },
        })
    };
    found.iter().map(source).collect()
}

impl Source {
    async fn last(&self, wanted: &Wanted) -> Result<Vec<Line>> {
        let params = LogParams {
            container: Some(self.container.clone()),
            tail_lines: i64::try_from(wanted.lines).ok(),
            previous: wanted.previous,
            timestamps: true,
            ..LogParams::default()
        };
        let what = || format!("the log of {}/{} could not be read", self.pod, self.container);
        let log = call(what, || self.pods.logs(&self.pod, &params)).await.map_err(|error| {
            let hint = if wanted.previous {
                "without --previous: what it writes now"
            } else {
                "sre status tells how it is; a container that prepares it has a log of its own: --container"
            };
            if error.next_step().is_some() { error } else { error.hint(hint) }
        })?;
        // The kubelet keeps one ended container; for an earlier one it has this line, and no error.
        if let Some(why) = log.strip_prefix(GONE) {
            return Err(Error::target(what())
                .because_of(format!("the kubelet has not kept it: {}", why.trim()))
                .hint("without --previous: what the container wrote last"));
        }
        Ok(log.lines().map(Line::read).collect())
    }

    /// Sends each line as it is written, over restarts of the container and broken connections, until the pod is
    /// gone or at its end; then its name, and why it could not be followed.
    async fn follow(self, tail: Option<usize>, lines: mpsc::Sender<String>) -> (String, Option<Error>) {
        let mut newest = Newest::default();
        let mut tail = tail.and_then(|lines| i64::try_from(lines).ok());
        loop {
            let params = LogParams {
                container: Some(self.container.clone()),
                follow: true,
                tail_lines: tail,
                since_time: newest.second,
                timestamps: true,
                ..LogParams::default()
            };
            match self.pods.log_stream(&self.pod, &params).await {
                Ok(stream) => {
                    tail = None;
                    let mut again = newest.lines.clone();
                    let mut stream = Box::pin(stream);
                    let mut bytes = Vec::new();
                    while stream.read_until(b'\n', &mut bytes).await.is_ok_and(|read| read > 0) {
                        let line = Line::read(&String::from_utf8_lossy(&bytes));
                        bytes.clear();
                        if is_again(&line, &mut again) {
                            continue;
                        }
                        newest.add(&line);
                        if lines.send(format!("{}{}", self.prefix, line.text)).await.is_err() {
                            return (self.pod, None);
                        }
                    }
                }
                Err(error) if status(&error) == Some(403) => {
                    let what = format!("the log of {}/{} could not be read", self.pod, self.container);
                    return (self.pod, Some(failed(what, &error)));
                }
                // It starts only now, or the API server is away.
                Err(_) => {}
            }
            match self.pods.get_opt(&self.pod).await {
                Ok(None) => return (self.pod, None),
                Ok(Some(pod)) if pod.metadata.uid.as_deref() != Some(&self.uid) => return (self.pod, None),
                Ok(Some(pod)) => {
                    let phase = pod.status.and_then(|status| status.phase);
                    if matches!(phase.as_deref(), Some("Succeeded" | "Failed")) {
                        return (self.pod, None);
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_EVERY / 2).await;
        }
    }
}

/// The lines of a log's newest second. From there it is asked for again: the query knows whole seconds only, and would be
/// rounded to the nearest, so that lines of up to half a second before it would never come.
#[derive(Debug, Default)]
struct Newest {
    second: Option<Timestamp>,
    lines: VecDeque<Line>,
}

impl Newest {
    fn add(&mut self, line: &Line) {
        let Some(at) = line.at else { return };
        let into = SignedDuration::from_nanos(at.subsec_nanosecond().into());
        let second = at.checked_sub(into).ok();
        if second > self.second {
            self.second = second;
            self.lines.clear();
        }
        // A line of an earlier second, which another stream has overtaken, is not given again.
        if second == self.second {
            self.lines.push_back(line.clone());
        }
    }
}

/// Whether this is one of the lines that were given already, in their order. Times alone do not tell: several lines may have
/// the same, and those of stdout and stderr overtake each other.
fn is_again(line: &Line, again: &mut VecDeque<Line>) -> bool {
    match again.iter().position(|seen| seen == line) {
        Some(at) => {
            again.drain(..=at);
            true
        }
        None => {
            again.clear();
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_from_their_times() {
        let line = Line::read("2026-11-21T06:40:12.123456789Z level=info msg=\"a b\"\n");
        assert_eq!(line.text, "level=info msg=\"a b\"");
        assert_eq!(line.at.map(|at| at.subsec_nanosecond()), Some(123_456_789));
        assert_eq!(Line::read("2026-11-21T06:40:12Z ").text, "");
        assert_eq!(Line::read("2026-11-21T06:40:12Z").text, "");
        assert_eq!(Line::read("no time"), Line { at: None, text: "no time".into() });
    }

    fn newest(lines: &[&str]) -> Newest {
        let mut newest = Newest::default();
        lines.iter().for_each(|line| newest.add(&Line::read(line)));
        newest
    }

    #[test]
    fn what_is_asked_for_again_begins_with_the_newest_second() {
        let asked = |at: &str| {
            let since_time = newest(&[&format!("{at} x")]).second;
            let params = LogParams { since_time, ..LogParams::default() };
            let request =
                kube::core::Request::new("/api/v1/namespaces/lab/pods").logs("web", &params).unwrap();
            request.uri().query().unwrap().replace("%3A", ":")
        };
        assert!(asked("2026-11-21T06:40:12.7Z").contains("sinceTime=2026-11-21T06:40:12Z"));
        assert!(asked("2026-11-21T06:40:12Z").contains("sinceTime=2026-11-21T06:40:12Z"));
    }

    #[test]
    fn lines_are_given_once_whatever_their_times() {
        let seen = [
            "2026-11-21T06:40:11.9Z before",
            "2026-11-21T06:40:12.5Z tick",
            "2026-11-21T06:40:12.5Z tick",
            "2026-11-21T06:40:12.4Z overtaken",
        ];
        let new = ["2026-11-21T06:40:12.5Z tick", "2026-11-21T06:40:12.4Z late", "2026-11-21T06:40:12.6Z x"];
        let newest = newest(&seen);
        // The same container goes on: what was seen of this second, and what came since.
        let mut again = newest.lines.clone();
        let given = |lines: &[&'static str], again: &mut VecDeque<Line>| -> Vec<&'static str> {
            lines.iter().copied().filter(|line| !is_again(&Line::read(line), again)).collect()
        };
        assert_eq!(given(&[&seen[1..], &new].concat(), &mut again), new);
        // Another one has taken its place, in the same second.
        let mut again = newest.lines.clone();
        assert_eq!(given(&new[1..], &mut again), new[1..]);
        // Its first lines are in a file that was put away.
        let mut again = newest.lines.clone();
        assert_eq!(given(&[&seen[3..], &new].concat(), &mut again), new);
    }
}
