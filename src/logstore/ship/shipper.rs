//! Reads what is new, notes it down, sends it, and goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::Options;
use super::client::{Client, Sent};
use super::follow::{Followed, Piece};
use super::lines::records;
use super::positions::{Positions, PositionsFile};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// How often the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long is waited at the most until a store that is away is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Bytes of one file that are sent at once.
const AT_ONCE: usize = 1 << 20;

/// Bytes that are sent at once in all; a store takes more.
const MOST: usize = 8 << 20;

/// All that is followed.
pub struct Shipper {
    logs: Vec<Followed>,
    file: PositionsFile,
    /// What the file says.
    saved: Positions,
    /// What went wrong already, so that it is told once.
    told: BTreeSet<String>,
}

impl Shipper {
    /// Goes on where an earlier one was.
    pub fn open(options: &Options, warn: &dyn Fn(String)) -> Result<Shipper> {
        let path = &options.positions;
        let (file, saved) = PositionsFile::open(path).map_err(|e| {
            Error::prerequisite(format!("the positions in {} cannot be used", path.display()))
                .because(e)
                .hint("where no other log shipper runs, remove the file: logs are then sent from their beginning")
        })?;
        let logs = options.logs.iter().map(|(name, log)| {
            let position = saved.logs.get(log).cloned().unwrap_or_default();
            let known = position.files.len();
            let followed = Followed::new(name, log, position);
            let gone = known - followed.position().files.len();
            if gone > 0 {
                warn(format!("{gone} files of {} are gone, with what was not read of them", log.display()));
            }
            followed
        });
        Ok(Shipper { logs: logs.collect(), file, saved, told: BTreeSet::new() })
    }

    /// Until the process is asked to end.
    pub async fn run(&mut self, client: &Client, interrupt: &Interrupt, warn: &dyn Fn(String)) {
        loop {
            let pieces = self.read(warn);
            let is_idle = pieces.iter().all(Vec::is_empty);
            let sending = async {
                self.save(warn).await;
                if !is_idle {
                    self.send(client, &pieces, warn).await;
                }
            };
            if interrupt.or(sending).await.is_err() {
                return;
            }
            if is_idle {
                if interrupt.or(tokio::time::sleep(LOOK_EVERY)).await.is_err() {
                    return;
                }
            } else {
                self.sent(&pieces);
            }
        }
    }

    /// What can be sent of each log.
    fn read(&mut self, warn: &dyn Fn(String)) -> Vec<Vec<Piece>> {
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let mut left = MOST;
        let mut all = Vec::new();
        for log in &mut self.logs {
            // What was noted down once is sent as it was noted.
            let pieces = if left == 0 { Ok(Vec::new()) } else { log.read(AT_ONCE, now) };
            let pieces = pieces.unwrap_or_else(|e| {
                let what = format!("the log of {} cannot be read: {e}", log.name);
                if self.told.insert(what.clone()) {
                    warn(what);
                }
                Vec::new()
            });
            left = left.saturating_sub(pieces.iter().map(|piece| piece.bytes.len()).sum());
            all.push(pieces);
        }
        all
    }

    fn sent(&mut self, pieces: &[Vec<Piece>]) {
        for (log, pieces) in self.logs.iter_mut().zip(pieces) {
            pieces.iter().for_each(|piece| log.sent(piece));
        }
    }

    /// Notes down how far all is sent, and what is being sent. Nothing is sent before it is noted.
    async fn save(&mut self, warn: &dyn Fn(String)) {
        // What is not followed just now may be again, and must not be sent twice.
        let mut positions = self.saved.clone();
        positions.logs.extend(self.logs.iter().map(|log| (log.path.clone(), log.position())));
        if positions == self.saved {
            return;
        }
        let mut pauses = Pauses::default();
        while let Err(e) = self.file.save(&positions) {
            if pauses.is_first() {
                warn(format!(
                    "how far the logs are sent cannot be noted down: {e}; nothing is sent until it can"
                ));
            }
            pauses.pause().await;
        }
        self.saved = positions;
    }

    /// Sends until it is kept, or refused for good.
    async fn send(&self, client: &Client, pieces: &[Vec<Piece>], warn: &dyn Fn(String)) {
        let of_log = |(log, pieces): (&Followed, &Vec<Piece>)| {
            let records = pieces
                .iter()
                .flat_map(|piece| records(&piece.id, piece.start, &piece.bytes, piece.read_at))
                .collect();
            (log.name.clone(), records)
        };
        let all: Vec<_> =
            self.logs.iter().zip(pieces).filter(|(_, pieces)| !pieces.is_empty()).map(of_log).collect();
        let mut pauses = Pauses::default();
        loop {
            match client.send(all.clone()).await {
                Sent::Kept(None) => break,
                Sent::Kept(Some(word)) => {
                    warn(word);
                    break;
                }
                Sent::Refused(why) => {
                    let lines: usize = all.iter().map(|(_, records)| records.len()).sum();
                    warn(format!("{lines} lines are lost, the store refuses them: {why}"));
                    break;
                }
                Sent::Later(why) => {
                    if pauses.is_first() {
                        warn(format!("{why}; it is tried again until it answers"));
                    }
                    pauses.pause().await;
                }
            }
        }
        if !pauses.is_first() {
            warn("the store answers again".into());
        }
    }
}

/// Pauses that become longer.
#[derive(Default)]
struct Pauses(u32);

impl Pauses {
    fn is_first(&self) -> bool {
        self.0 == 0
    }

    async fn pause(&mut self) {
        let pause = LOOK_EVERY * 2_u32.saturating_pow(self.0.min(8));
        self.0 += 1;
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }
}
