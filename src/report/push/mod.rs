//! Pushes what the client sees to Prometheus while the load runs, so that the client's curves stand beside the
//! server's.
//!
//! A reporter makes samples of each second and hands them to a task that sends them; nothing waits for it, and
//! what does not get through is told at the end. The load is the same whatever becomes of its samples.

mod sender;
mod series;

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::observe::Prometheus;
use crate::observe::remote_write::{RemoteWrite, TimeSeries};
use crate::run::{Event, EventKind, Reporter};

use sender::Account;
use series::SeriesOfRun;

/// After the load, what is still on its way has this long.
const FLUSH: Duration = Duration::from_secs(8);

/// A clock that is off by less is right: asking takes time, too.
const CLOCK: f64 = 1.0;

/// What receives the samples of a load, and the task that sends them.
pub struct Push {
    url: url::Url,
    to: Option<UnboundedSender<Vec<TimeSeries>>>,
    sending: JoinHandle<()>,
    account: Account,
    /// Seconds by which the receiver's clock is ahead of this machine's.
    ahead: f64,
}

/// What became of the samples of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Samples that were taken.
    pub taken: u64,
    /// Samples that were not, or not surely.
    pub lost: u64,
    /// Why the last of them were lost.
    pub why: Option<String>,
}

impl Push {
    /// Begins to send what the reporter makes. Where the receiver is a Prometheus that can be asked, the times
    /// are those of its own clock.
    ///
    /// # Errors
    /// A prerequisite (exit 5) where the receiver takes nothing.
    pub async fn start(client: RemoteWrite, prometheus: Option<&Prometheus>) -> Result<Push> {
        let url = client.url().clone();
        client.probe().await.map_err(|refused| {
            let error = Error::prerequisite(format!("no samples can be pushed to {url}"));
            let error = refused.error.causes().iter().fold(error, |error, cause| error.because_of(cause));
            match refused.error.next_step() {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        let ahead = match prometheus {
            Some(prometheus) => ahead(prometheus).await,
            None => 0.0,
        };
        let (to, incoming) = unbounded_channel();
        let account = Account::default();
        let sending = tokio::spawn(sender::send_all(client, incoming, account.clone()));
        Ok(Push { url, to: Some(to), sending, account, ahead })
    }

    /// The reporter whose samples are sent; there is one.
    pub fn reporter(&mut self) -> Option<Box<dyn Reporter>> {
        let to = self.to.take()?;
        Some(Box::new(Pushing {
            to: Some(to),
            account: self.account.clone(),
            ahead: self.ahead,
            series: None,
        }))
    }

    /// Where the samples go.
    pub fn url(&self) -> &url::Url {
        &self.url
    }

    /// Waits until all samples are sent, or their time is over.
    pub async fn finish(mut self) -> Pushed {
        self.to = None;
        if tokio::time::timeout(FLUSH, &mut self.sending).await.is_err() {
            self.sending.abort();
            self.account.give_up(&format!("it did not take them within {} s", FLUSH.as_secs()));
        }
        self.account.pushed()
    }
}

async fn ahead(prometheus: &Prometheus) -> f64 {
    let Ok(time) = prometheus.time().await else { return 0.0 };
    let ahead = time - Timestamp::now().as_millisecond() as f64 / 1000.0;
    if ahead.abs() < CLOCK { 0.0 } else { ahead }
}

/// Makes samples of events.
struct Pushing {
    /// Gone once the load has ended: then the task ends, too.
    to: Option<UnboundedSender<Vec<TimeSeries>>>,
    account: Account,
    ahead: f64,
    series: Option<SeriesOfRun>,
}

impl Pushing {
    fn hand_over(&mut self, samples: Vec<TimeSeries>) {
        if let Some(to) = &self.to {
            self.account.made(&samples);
            // The task ends early only where the receiver refuses for good; the account has these then, too.
            let _ = to.send(samples);
        }
    }
}

impl Reporter for Pushing {
    fn event(&mut self, event: &Event) -> Result<()> {
        let time = event.time.as_millisecond() + (self.ahead * 1000.0).round() as i64;
        match (&event.kind, &mut self.series) {
            (EventKind::RunStarted(run), _) => {
                self.series = Some(SeriesOfRun::new(&run.run, &run.scenario));
            }
            (EventKind::LoadStarted(plan), Some(series)) => series.requests(&plan.requests),
            (EventKind::LoadProgress(sample), Some(series)) => {
                let samples = series.second(sample, time);
                self.hand_over(samples);
            }
            (EventKind::LoadFinished(_) | EventKind::RunFailed { .. }, Some(series)) => {
                let samples = series.end(time);
                self.hand_over(samples);
                self.to = None;
            }
            _ => {}
        }
        Ok(())
    }
}
