//! Sends samples, several seconds at once where it fell behind, and keeps account of what became of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedReceiver;

use super::Pushed;
use crate::observe::remote_write::{RemoteWrite, TimeSeries};

/// As many seconds go in one message at the most.
const MOST: usize = 60;

/// What became of the samples that were made.
#[derive(Clone, Default)]
pub(super) struct Account(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    made: u64,
    taken: u64,
    why: Option<String>,
}

impl Account {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These samples are to be sent.
    pub(super) fn made(&self, series: &[TimeSeries]) {
        self.counts().made += samples(series);
    }

    /// What is not taken by now is lost.
    pub(super) fn give_up(&self, why: &str) {
        self.counts().why.get_or_insert_with(|| why.to_owned());
    }

    /// What became of all of them; what was not taken is lost.
    pub(super) fn pushed(&self) -> Pushed {
        let counts = self.counts();
        let lost = counts.made - counts.taken;
        Pushed { taken: counts.taken, lost, why: counts.why.clone().filter(|_| lost > 0) }
    }
}

fn samples(series: &[TimeSeries]) -> u64 {
    series.iter().map(|series| series.samples.len() as u64).sum()
}

/// Sends what comes in until nothing more will, or the receiver refuses for good.
pub(super) async fn send_all(
    client: RemoteWrite,
    mut incoming: UnboundedReceiver<Vec<TimeSeries>>,
    account: Account,
) {
    let mut seconds = Vec::new();
    while incoming.recv_many(&mut seconds, MOST).await > 0 {
        let series: Vec<TimeSeries> = seconds.drain(..).flatten().collect();
        match client.write(&series).await {
            Ok(()) => account.counts().taken += samples(&series),
            Err(refused) => {
                let why = refused.error.causes().first().map_or(refused.error.what(), String::as_str);
                account.counts().why = Some(why.to_owned());
                if refused.for_good {
                    return;
                }
            }
        }
    }
}
