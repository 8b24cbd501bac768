//! Why a line is not kept: the service's file or its pods, what ships it, the log store.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::Timestamp;

use super::chain::{Walk, reason};
use super::look::{self, Reach, reach, reached, some};
use super::{Place, kubernetes};
use crate::check::logs::silence;
use crate::error::{Error, Result};
use crate::figures::{ago, bytes};
use crate::logstore::ship::Positions;
use crate::observe::{LogLine, Loki};
use crate::target::local::process::{self, State};
use crate::target::local::tail::last_lines;

/// The names that a lab gives what ships its lines.
const SHIPPERS: [&str; 2] = ["logshipper", "collector"];
/// How much of a file is searched, from its end.
const SEARCHED: u64 = 256 << 20;
/// How far back a line is looked for in the store, in nanoseconds: six hours; and ahead, where clocks differ.
const LOOK_BACK: i64 = 6 * 3600 * 1_000_000_000;
const AHEAD: i64 = 600 * 1_000_000_000;
/// Letters of a line that it is known by.
const KNOWN_BY: usize = 500;

/// A log file of the service.
pub struct LogFile {
    /// The replica that writes it.
    pub replica: String,
    /// How long it is and when it was changed, in seconds since 1970; or why that is not known.
    pub size: Result<(u64, f64), String>,
    /// Where the line ends in it, if it is there.
    pub line_end: Option<u64>,
    /// Up to where it was shipped, where that is known.
    pub shipped: Option<u64>,
}

/// Who writes the line.
pub enum Source {
    /// These files.
    Files(Vec<LogFile>),
    /// Pods; whether the line is among the last that they wrote, or why that is not known.
    Pods(Result<bool>),
    /// It is not known on this target.
    NotKnown,
}

/// What is known of a line.
pub struct Facts {
    /// What is looked for.
    pub text: String,
    /// Who writes it.
    pub source: Source,
    /// The process that ships it, and how that is.
    pub shipper: Option<(String, State)>,
    /// Whether the store answers.
    pub reach: Reach,
    /// What brings it back.
    pub mend: String,
    /// The selector of the service's streams; none where the stack says nothing of its lines.
    pub selector: Option<String>,
    /// The newest line of these streams, and what there is instead.
    pub newest: Result<Option<LogLine>>,
    /// What there is instead.
    pub silence: Option<String>,
    /// The line in the store.
    pub found: Result<Option<LogLine>>,
    /// This machine's time.
    pub now: f64,
}

/// Walks from the file to the store.
pub async fn walk(place: &Place<'_>, name: &str, walk: &mut Walk) -> Result<()> {
    let (text, source) = source(place, name).await;
    let shipper = place.lab.processes.iter().find(|process| SHIPPERS.contains(&process.name.as_str()));
    let shipper = shipper.map(|process| (process.name.clone(), process::state(process)));
    if let Some(cluster) = place.cluster {
        kubernetes::collectors(place, cluster, walk).await;
    }
    let lines = place.stack.and_then(|stack| stack.logs.as_ref());
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let untold = || Error::no_data("it was not asked");
    let mut facts = Facts {
        source,
        shipper,
        reach: look::without(place, "loki"),
        mend: look::mend(place, "loki"),
        selector: lines.map(|lines| lines.selector.clone()),
        newest: Err(untold()),
        silence: None,
        found: Err(untold()),
        now: now as f64 / 1e9,
        text,
    };
    if let Some(endpoint) = &place.lab.endpoints.loki {
        let loki = Loki::new(endpoint)?;
        facts.reach = reach(loki.version().await, loki.answers()).await;
        if let (Reach::Answers(_), Some(lines)) = (&facts.reach, lines) {
            let selector = &lines.selector;
            facts.newest = loki.newest(selector, now - LOOK_BACK, now + AHEAD).await;
            if let Ok(None) = facts.newest {
                facts.silence = silence(lines, &loki, now).await;
            }
            let query = format!("{selector} |= {}", serde_json::Value::from(facts.text.as_str()));
            facts.found = loki.newest(&query, now - LOOK_BACK, now + AHEAD).await;
        }
    }
    judge(&facts, walk);
    Ok(())
}

/// What is looked for, and who writes it. The name of a replica or of the service stands for its newest line.
async fn source(place: &Place<'_>, name: &str) -> (String, Source) {
    let lab = place.lab;
    let of_service =
        lab.stack == name || place.stack.and_then(|stack| stack.counter.job.as_deref()) == Some(name);
    let logs: Vec<(&str, &Path)> = lab
        .endpoints
        .replicas
        .iter()
        .filter_map(|replica| Some((replica.name.as_str(), lab.process(&replica.name)?.log.as_path())))
        .collect();
    if let Some(cluster) = place.cluster {
        return kubernetes::pod_lines(place, cluster, name, of_service).await;
    }
    if logs.is_empty() {
        return (name.to_owned(), Source::NotKnown);
    }
    let mut named = logs.iter().filter(|(replica, _)| of_service || *replica == name).peekable();
    let text = match named.peek() {
        None => name.to_owned(),
        Some(_) => named.find_map(|(_, log)| last_lines(log, 1).pop()).map(known_by).unwrap_or_default(),
    };
    let positions = positions(&place.state.local().join("logshipper.json"));
    let file = |(replica, log): &(&str, &Path)| look_into(replica, log, &text, positions.as_ref());
    let files = logs.iter().map(file).collect();
    (text, Source::Files(files))
}

/// As much of a line as it is known by.
pub fn known_by(line: String) -> String {
    line.trim().chars().take(KNOWN_BY).collect()
}

fn positions(path: &Path) -> Option<Positions> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn look_into(replica: &str, log: &Path, text: &str, positions: Option<&Positions>) -> LogFile {
    let metadata = std::fs::metadata(log);
    let file = metadata.as_ref().ok().map(|file| (file.dev(), file.ino()));
    let shipped = positions.and_then(|positions| {
        let all = &positions.logs.get(log)?.files;
        Some(all.iter().find(|one| Some(one.file) == file)?.offset)
    });
    let size =
        metadata.map(|file| (file.len(), file.mtime() as f64)).map_err(|e| format!("{}: {e}", log.display()));
    LogFile { replica: replica.into(), size, line_end: end_of_line(log, text), shipped }
}

/// The byte at which the last line with a text ends.
fn end_of_line(log: &Path, text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut file = File::open(log).ok()?;
    let end = file.metadata().ok()?.len();
    let start = end.saturating_sub(SEARCHED);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut content = Vec::new();
    file.take(SEARCHED).read_to_end(&mut content).ok()?;
    let sought = regex::bytes::Regex::new(&regex::escape(text)).ok()?;
    let last = sought.find_iter(&content).last()?;
    let rest = content[last.end()..].iter().position(|byte| *byte == b'\n');
    let end = rest.map_or(content.len(), |at| last.end() + at + 1);
    Some(start + end as u64)
}

/// The links of a line. Pure.
pub fn judge(facts: &Facts, walk: &mut Walk) {
    const KEPT: &str = "the store has the line";
    // What is in the store went all the way.
    let found = facts.found.as_ref().ok().and_then(Option::as_ref);
    written(facts, found.is_some(), walk);
    if !walk.is_over() && found.is_none() {
        shipped(facts, walk);
    }
    if walk.is_over() || !reached(walk, "the log store answers", &facts.reach, &facts.mend) {
        return;
    }
    let Some(selector) = &facts.selector else {
        return walk.unknown(
            KEPT,
            "The stack does not say how its lines are found: `logs` in the stack file, with a `selector`.",
        );
    };
    streams(facts, selector, walk);
    match (&facts.found, found) {
        (Err(error), _) => walk.unknown(KEPT, reason(error)),
        (Ok(_), Some(line)) => {
            let labels = line.labels.iter().filter(|(name, _)| *name != "detected_level");
            walk.ok(KEPT, some(labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().iter().map(String::as_str)));
        }
        (Ok(_), None) => walk.broken(
            KEPT,
            format!("{selector} has no line with “{}” of the last 6 hours.", short(&facts.text)),
            "Was it written at all, or just now? Does what ships it drop lines? Does the store refuse old or large ones? Its log tells.",
        ),
    }
}

fn short(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() { shown + "…" } else { shown }
}

fn written(facts: &Facts, is_kept: bool, walk: &mut Walk) {
    const WRITES: &str = "the service writes its log";
    const WRITTEN: &str = "the line is written";
    match &facts.source {
        Source::NotKnown if is_kept => {}
        Source::NotKnown => {
            walk.unknown(WRITTEN, "Where the service writes its lines is not known on this target.")
        }
        Source::Pods(Ok(true)) => walk.ok(WRITTEN, "by a pod"),
        Source::Pods(_) if is_kept => {}
        Source::Pods(Ok(false)) => walk.unknown(
            WRITTEN,
            "It is not among the last lines of the service's pods; older ones may be gone there.",
        ),
        Source::Pods(Err(error)) => walk.untold(WRITTEN, error),
        Source::Files(files) => {
            let none = files.iter().find_map(|file| file.size.as_ref().err());
            let all: f64 = files.iter().filter_map(|file| Some(file.size.as_ref().ok()?.0 as f64)).sum();
            let changed = files.iter().filter_map(|file| Some(file.size.as_ref().ok()?.1)).reduce(f64::max);
            match (none, changed) {
                (Some(why), None) => {
                    return walk.broken(WRITES, why.clone(), "Does the service run? `sre status`");
                }
                (_, Some(_)) if all == 0.0 => {
                    return walk.broken(
                        WRITES,
                        "Its log is empty.",
                        "Is its log level high enough, and does it write to stdout?",
                    );
                }
                (_, changed) => walk.ok(
                    WRITES,
                    format!("{}, last {}", bytes(all), ago(facts.now - changed.unwrap_or_default())),
                ),
            }
            match files.iter().find(|file| file.line_end.is_some()) {
                Some(file) => walk.ok(WRITTEN, format!("by {}", file.replica)),
                None if is_kept => {}
                None => walk.broken(
                    WRITTEN,
                    format!("No log of {} holds “{}”.", some(files.iter().map(|file| file.replica.as_str())), short(&facts.text)),
                    "Was such a request answered at all? Does the service write a line on that path, also when its handler fails?",
                ),
            }
        }
    }
}

fn shipped(facts: &Facts, walk: &mut Walk) {
    const RUNS: &str = "what ships it runs";
    const SHIPPED: &str = "the line is shipped";
    match &facts.shipper {
        Some((name, State::Running)) => walk.ok(RUNS, name.clone()),
        Some((name, state)) => {
            return walk.broken(
                RUNS,
                format!("{name} is {state}."),
                format!("`sre up` brings it back; `sre logs {name}` shows what it wrote last."),
            );
        }
        None => return,
    }
    let Source::Files(files) = &facts.source else { return };
    let Some((file, end)) = files.iter().find_map(|file| Some((file, file.line_end?))) else { return };
    match file.shipped {
        Some(shipped) if shipped < end => walk.broken(
            SHIPPED,
            format!("Of the log of {}, {} of {} were sent; the line ends at byte {end}.", file.replica, bytes(shipped as f64), bytes(file.size.as_ref().map_or(0.0, |size| size.0 as f64))),
            "Wait a moment, and ask again; if it stays there, `sre logs logshipper` says why nothing is taken.",
        ),
        Some(_) => walk.ok(SHIPPED, ""),
        // A collector keeps to itself how far it is.
        None => {}
    }
}

fn streams(facts: &Facts, selector: &str, walk: &mut Walk) {
    const STREAMS: &str = "the store has lines of the service";
    match &facts.newest {
        Ok(Some(line)) => walk.ok(STREAMS, format!("newest {}", ago(facts.now - line.time as f64 / 1e9))),
        Ok(None) => {
            let silence = facts.silence.clone().unwrap_or_else(|| format!("It has nothing of {selector}"));
            walk.broken(STREAMS, format!("{silence}."), "Is the selector right (`logs` in the stack file), and does anything ship the service's lines?");
        }
        Err(error) => walk.unknown(STREAMS, reason(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::Labels;
    use crate::why::chain::State as Link;

    fn line() -> LogLine {
        LogLine { time: 990_000_000_000, labels: Arc::new(Labels::new()), line: "id-7".into() }
    }

    fn file(line_end: Option<u64>, shipped: Option<u64>) -> Source {
        Source::Files(vec![LogFile { replica: "api-0".into(), size: Ok((100, 990.0)), line_end, shipped }])
    }

    fn facts(source: Source, found: Option<LogLine>) -> Facts {
        Facts {
            text: "id-7".into(),
            source,
            shipper: Some(("logshipper".into(), State::Running)),
            reach: Reach::Answers("3".into()),
            mend: "sre up".into(),
            selector: Some("{service_name=\"api\"}".into()),
            newest: Ok(Some(line())),
            silence: None,
            found: Ok(found),
            now: 1000.0,
        }
    }

    #[test]
    fn the_first_broken_link_of_a_line_is_named() {
        let not_there = || LogFile {
            replica: "api-0".into(),
            size: Err("api.log: gone".into()),
            line_end: None,
            shipped: None,
        };
        let empty = || LogFile { size: Ok((0, 990.0)), ..not_there() };
        let away = || Reach::Away(Error::no_data("nobody answers"));
        let at = || file(Some(90), Some(90));
        for (facts, link, state, told) in [
            (facts(at(), Some(line())), "the store has the line", Link::Ok, ""),
            (facts(Source::NotKnown, Some(line())), "the store has the line", Link::Ok, ""),
            (
                facts(Source::Files(vec![not_there()]), None),
                "the service writes its log",
                Link::Broken,
                "gone",
            ),
            (
                facts(Source::Files(vec![empty()]), None),
                "the service writes its log",
                Link::Broken,
                "is empty",
            ),
            (
                facts(file(None, Some(0)), None),
                "the line is written",
                Link::Broken,
                "No log of api-0 holds “id-7”",
            ),
            (
                Facts { shipper: Some(("logshipper".into(), State::Dead)), ..facts(at(), None) },
                "what ships it runs",
                Link::Broken,
                "logshipper is dead",
            ),
            (
                facts(file(Some(90), Some(10)), None),
                "the line is shipped",
                Link::Broken,
                "10 B of 100 B were sent",
            ),
            (Facts { reach: away(), ..facts(at(), None) }, "the log store answers", Link::Broken, "sre up"),
            (
                Facts { newest: Ok(None), silence: Some("It has nothing".into()), ..facts(at(), None) },
                "the store has lines of the service",
                Link::Broken,
                "It has nothing.",
            ),
            (facts(at(), None), "the store has the line", Link::Broken, "has no line with “id-7”"),
            (
                Facts { selector: None, ..facts(at(), None) },
                "the store has the line",
                Link::Unknown,
                "`logs` in the stack file",
            ),
        ] {
            let mut walk = Walk::default();
            judge(&facts, &mut walk);
            let last = walk.chain("", "").links.pop().expect("a link");
            let text = format!("{} {}", last.found, last.hint.unwrap_or_default());
            assert_eq!((last.link.as_str(), last.state), (link, state), "{text}");
            assert!(text.contains(told), "{text}");
        }
    }

    #[test]
    fn a_line_is_found_from_the_end_of_its_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "a id-7 x\nb\nc id-7\nd\n").expect("written");
        assert_eq!(end_of_line(file.path(), "id-7"), Some(18));
        assert_eq!(end_of_line(file.path(), "d"), Some(20));
        assert_eq!(end_of_line(file.path(), "id-8"), None);
        assert_eq!(end_of_line(file.path(), ""), None);
    }
}
