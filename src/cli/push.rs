//! `--push`, `--remote-write`: where the client's curves go.

use clap::{Args, ValueEnum};
use url::Url;

use super::credentials::credentials;
use crate::error::{Error, Result};
use crate::figures::count;
use crate::observe::Prometheus;
use crate::observe::remote_write::RemoteWrite;
use crate::report::push::Push;
use crate::stack::base_url;
use crate::target::{Endpoint, Lab, TargetKind};
use crate::terminal::Terminal;

/// Whether the load is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WhenPushed {
    /// Where sre runs the lab's Prometheus, and its receiver is on.
    Auto,
    /// In any case: where that cannot be, the command fails.
    Always,
    /// Not at all.
    Never,
}

/// Where the client's curves go.
#[derive(Debug, Clone, Args)]
pub struct Pushing {
    /// Whether each second of the load is pushed to the lab's Prometheus, as sre_load_*: auto, where sre runs it and
    /// its receiver is on.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    push: WhenPushed,
    /// Pushes each second of the load to this remote write receiver instead: the whole URL, such as
    /// http://prometheus:9090/api/v1/write.
    #[arg(long, value_name = "URL", conflicts_with = "push")]
    remote_write: Option<Url>,
    /// The environment variable that holds the token for it.
    #[arg(long, value_name = "VARIABLE", requires = "remote_write", conflicts_with = "remote_write_user")]
    remote_write_bearer: Option<String>,
    /// The environment variable that holds the user for it.
    #[arg(long, value_name = "VARIABLE", requires_all = ["remote_write", "remote_write_password"])]
    remote_write_user: Option<String>,
    /// The environment variable that holds the password for it.
    #[arg(long, value_name = "VARIABLE", requires = "remote_write_user")]
    remote_write_password: Option<String>,
}

impl Pushing {
    /// What takes the samples; none where nothing is to.
    ///
    /// # Errors
    /// Usage (exit 2) for a URL that is none of a receiver; a prerequisite (5) where what was asked for takes no
    /// samples.
    pub async fn start(&self, lab: &Lab, terminal: &Terminal) -> Result<Option<Push>> {
        if let Some(url) = &self.remote_write {
            base_url(url).map_err(|why| Error::usage(format!("{url} cannot be used")).because_of(why))?;
            let credentials = credentials(
                self.remote_write_bearer.as_deref(),
                self.remote_write_user.as_deref(),
                self.remote_write_password.as_deref(),
            )?;
            let endpoint = Endpoint { credentials, ..Endpoint::new(url.clone()) };
            return Push::start(RemoteWrite::at(&endpoint)?, None).await.map(Some);
        }
        let asked = match self.push {
            WhenPushed::Never => return Ok(None),
            WhenPushed::Auto if lab.target == TargetKind::External => return Ok(None),
            WhenPushed::Auto => false,
            WhenPushed::Always => true,
        };
        match (to_lab(lab).await, asked) {
            (Ok(push), _) => Ok(Some(push)),
            (Err(error), true) => Err(error),
            (Err(error), false) => {
                terminal.detail(format!("the load is not pushed: {error}"));
                Ok(None)
            }
        }
    }

    /// Waits until everything is sent, and tells of what got lost.
    pub async fn finish(&self, push: Push, terminal: &Terminal) {
        let url = push.url().clone();
        let pushed = push.finish().await;
        if pushed.lost > 0 {
            let why = pushed.why.map_or(String::new(), |why| format!(": {why}"));
            let all = pushed.taken + pushed.lost;
            terminal.warn(format!(
                "{} of {} samples of the load were lost on the way to {url}{why}",
                count(pushed.lost),
                count(all)
            ));
        } else if self.remote_write.is_some() || self.push == WhenPushed::Always {
            terminal.say(format!("{} samples of the load are in {url}", count(pushed.taken)));
        }
    }
}

async fn to_lab(lab: &Lab) -> Result<Push> {
    let endpoint =
        lab.endpoints.prometheus.as_ref().ok_or_else(|| Error::prerequisite("this lab has no Prometheus"))?;
    let prometheus = Prometheus::new(endpoint)?.once_only();
    Push::start(RemoteWrite::of_prometheus(endpoint)?, Some(&prometheus)).await
}
