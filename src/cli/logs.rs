//! `sre logs`.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::foreign;
use crate::target::kubernetes::record::ClusterLab;
use crate::target::kubernetes::{logs as pod_logs, profile};
use crate::target::local::tail::tail;
use crate::target::{Folder, Lab};

/// How often a log is looked at for what was added.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Prints what a part of the lab wrote.
///
/// On a cluster a part may be several pods, whose lines then come with the pod's name, in the order of their time;
/// with -f over restarts and from new pods, too.
#[derive(Debug, Args)]
pub struct Logs {
    /// The part: a process or a pod (see `sre status`), or app, prometheus, alertmanager, receiver, loki, grafana.
    name: String,
    /// Goes on as it writes more, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// How many of its last lines.
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    lines: usize,
    /// Of which container of a pod [default: the pod's first].
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// What a pod's container wrote before it was last restarted.
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
}

impl Logs {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        match self.show(context).await {
            // A reader that went away (`sre logs … | head`) ends it, and is no error.
            Err(error) if error.exit() == Exit::Pass => Ok(Exit::Pass),
            shown => shown,
        }
    }

    async fn show(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        let lab = Lab::up_in(folder.root())?;
        if let Some(place) = &lab.cluster {
            return self.of_pods(place, context).await;
        }
        if self.previous || self.container.is_some() {
            return Err(Error::usage(format!("the target {} has no pods", lab.target)).hint(
                "a process's log has what it wrote before its last restart, too: leave the option out",
            ));
        }
        let names = lab.processes.iter().map(|process| process.name.as_str());
        let process = lab.process(&self.name).ok_or_else(|| unknown_name(&self.name, names))?;
        // One that has written nothing yet may have no log.
        let (text, position) = tail(&process.log, self.lines).unwrap_or_default();
        write(&text)?;
        if self.follow {
            follow(&process.log, position, context).await?;
        }
        Ok(Exit::Pass)
    }

    async fn of_pods(self, place: &ClusterLab, context: &Context) -> Result<Exit> {
        let cluster = profile::connect(place, &context.interrupt).await?;
        let wanted = pod_logs::Wanted {
            name: self.name,
            container: self.container,
            lines: self.lines,
            previous: self.previous,
        };
        if self.follow {
            let mut out = |line: &str| write(format!("{line}\n").as_bytes());
            let say = |line: &str| context.terminal.say(line);
            let following = pod_logs::follow(&cluster, place, &wanted, &mut out, &say);
            // Ctrl-C is how one ends it: there is nothing to tell.
            return context.interrupt.or(following).await.unwrap_or(Ok(())).map(|()| Exit::Pass);
        }
        let warn = |line: &str| context.terminal.warn(line);
        let lines = context.interrupt.or(pod_logs::last(&cluster, place, &wanted, &warn)).await??;
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        write(text.as_bytes())?;
        Ok(Exit::Pass)
    }
}

/// There is no such part: the nearest name, and all of them.
pub(super) fn unknown_name<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    Error::usage(format!("the lab has no `{name}`")).hint(crate::config::unknown(name, known))
}

async fn follow(log: &Path, mut position: u64, context: &Context) -> Result<()> {
    let failed = |e: std::io::Error| Error::target(format!("{} cannot be read", log.display())).because(e);
    loop {
        let length = std::fs::metadata(log).map_or(0, |file| file.len());
        if length < position {
            // A new lab has begun the log anew.
            position = 0;
        }
        if length > position {
            let mut added = Vec::new();
            let mut file = std::fs::File::open(log).map_err(failed)?;
            file.seek(SeekFrom::Start(position)).map_err(failed)?;
            file.take(1 << 20).read_to_end(&mut added).map_err(failed)?;
            position += added.len() as u64;
            write(&added)?;
            continue;
        }
        if context.interrupt.or(tokio::time::sleep(LOOK_EVERY)).await.is_err() {
            // Ctrl-C is how one ends it: there is nothing to tell.
            return Ok(());
        }
    }
}

/// Data on stdout: as it is, unless that is a terminal, which would obey it. A reader that went away ends the command as
/// it would end `tail`.
fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout();
    let text = stdout.is_terminal().then(|| String::from_utf8_lossy(bytes));
    let bytes = text
        .as_ref()
        .map_or(Cow::Borrowed(bytes), |text| Cow::Owned(foreign::visible(text).into_owned().into_bytes()));
    match stdout.write_all(&bytes).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Exit::Pass, "nobody reads stdout any more"))
        }
        written => written.map_err(|e| Error::prerequisite("stdout cannot be written").because(e)),
    }
}
