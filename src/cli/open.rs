//! `sre open`.

use std::io::IsTerminal as _;
use std::process::{Command, Stdio};

use clap::Args;
use serde::Serialize;
use url::Url;

use super::Context;
use super::cluster_open;
use super::logs::unknown_name;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::target::{Folder, Lab};

/// Prints where a part of the lab answers, and opens it where there is a display.
///
/// On a cluster it answers through a port-forward, which lives until Ctrl-C, also when its pod is replaced.
#[derive(Debug, Args)]
pub struct Open {
    /// The part: app, prometheus, alertmanager, receiver, loki, grafana, or a replica's name; on a cluster a workload's or a
    /// pod's, too.
    pub(super) name: String,
    /// The port of this machine that leads to it [default: the part's own, if that is free].
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// Prints the password of a login also where stdout is no terminal.
    #[arg(long)]
    pub(super) show_password: bool,
}

#[derive(Serialize)]
struct Place<'a> {
    name: &'a str,
    url: &'a Url,
}

impl Open {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<Exit> {
        let folder = Folder::here()?;
        let lab = Lab::up_in(folder.root())?;
        if let Some(place) = &lab.cluster {
            return cluster_open::open(&self, place, context).await;
        }
        if self.port.is_some() {
            return Err(Error::usage(format!("on the target {} each part has its own port", lab.target))
                .hint("leave --port out"));
        }
        let parts = ["app", "prometheus", "alertmanager", "receiver", "loki"].into_iter();
        let replicas = lab.endpoints.replicas.iter().map(|replica| replica.name.as_str());
        let known = parts.chain(replicas).filter(|name| lab.url(name).is_some());
        let url = lab.url(&self.name).ok_or_else(|| unknown_name(&self.name, known))?;
        context.terminal.print(&Place { name: &self.name, url }, |place| place.url.to_string())?;
        show(url, context);
        Ok(Exit::Pass)
    }
}

fn has_display() -> bool {
    cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Opens a browser where there is somebody to see it.
pub(super) fn show(url: &Url, context: &Context) {
    if !std::io::stdout().is_terminal() || !has_display() {
        return;
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let opened = Command::new(opener)
        .arg(url.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opened {
        context.terminal.detail(format!("{opener} cannot be run: {error}"));
    }
}
