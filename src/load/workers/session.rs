//! Lines in both directions over connections that may break: each line arrives once, in its order, whatever
//! becomes of the connections.
//!
//! Either side numbers what it says and keeps it until the other has told that it has it. A connection begins
//! with how much each side has, and what is missing is said again. Who hears nothing for [`SILENCE`] gives the
//! connection up; what to do without one is its owner's affair.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, split};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::lines::Lines;

/// How often each side tells what it has.
const BEAT: Duration = Duration::from_secs(1);

/// A connection on which nothing came for so long is broken.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// What goes over a connection: one JSON document a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Frame {
    /// The first of a connection.
    Hello {
        /// The worker's process, as it calls itself; what the leader knows of it.
        worker: Option<String>,
        /// How many items of the other side it has.
        have: u64,
    },
    /// An item, by its number from 0.
    Item { number: u64, item: Item },
    /// How many items of the other side it has.
    Have(u64),
}

/// What one side says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Item {
    Line(String),
    /// The last one.
    End,
}

/// Why a connection is over.
#[derive(Debug, PartialEq)]
pub(super) enum Over {
    /// The other side has said its last, and has all that this side had to say, its last too.
    Done,
    /// It broke, or was given up.
    Broken(String),
    /// The other side is not who it was.
    Another,
}

/// One side of a stream of lines in each direction.
#[derive(Debug)]
pub(super) struct Session {
    /// The worker's process: told by the worker, known to the leader from the first connection on.
    worker: Option<String>,
    is_worker: bool,
    /// What was said, from item `first` on, and is not known to have arrived.
    said: VecDeque<Item>,
    first: u64,
    have: u64,
    /// Whether this side, and the other, have said their last.
    ended: bool,
    heard_all: bool,
    heard_at: Option<Instant>,
}

impl Session {
    /// The worker's side.
    pub(super) fn of_worker() -> Session {
        Session { worker: Some(uuid::Uuid::new_v4().to_string()), is_worker: true, ..Session::of_leader() }
    }

    /// The leader's side.
    pub(super) fn of_leader() -> Session {
        Session {
            worker: None,
            is_worker: false,
            said: VecDeque::new(),
            first: 0,
            have: 0,
            ended: false,
            heard_all: false,
            heard_at: None,
        }
    }

    /// Whether the other side has said its last.
    pub(super) fn heard_all(&self) -> bool {
        self.heard_all
    }

    /// When the other side was last heard of.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }

    fn done(&self) -> bool {
        self.heard_all && self.ended && self.said.is_empty()
    }

    fn arrived(&mut self, have: u64) {
        while self.first < have && self.said.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Hears an item; `None` for one that it has already.
    fn hear(&mut self, number: u64, item: Item) -> Result<Option<Item>, String> {
        if number > self.have {
            return Err(format!("item {number} came after {}", self.have));
        }
        if number < self.have {
            return Ok(None);
        }
        self.have += 1;
        self.heard_all |= item == Item::End;
        Ok(Some(item))
    }

    /// Talks over a connection until that is over. Lines to say come from `say`, whose end is said, too; lines
    /// that are heard go to `heard`.
    pub(super) async fn talk(
        &mut self,
        connection: impl AsyncRead + AsyncWrite,
        say: &mut UnboundedReceiver<String>,
        heard: &mut Option<UnboundedSender<String>>,
    ) -> Over {
        match self.try_talk(connection, say, heard).await {
            Ok(over) => over,
            Err(why) => Over::Broken(why),
        }
    }

    async fn try_talk(
        &mut self,
        connection: impl AsyncRead + AsyncWrite,
        say: &mut UnboundedReceiver<String>,
        heard: &mut Option<UnboundedSender<String>>,
    ) -> Result<Over, String> {
        let (from, mut to) = split(connection);
        let mut frames = Lines::new(BufReader::new(from));
        // Whoever comes speaks first: what a port that is forwarded leads to is only known then.
        if !self.is_worker {
            write(&mut to, &self.hello()).await?;
        }
        let Frame::Hello { worker, have } = read(&mut frames).await? else {
            return Err("it did not begin with a greeting".into());
        };
        match (&self.worker, worker) {
            (Some(known), Some(other)) if *known != other => {
                // The leader has to learn who this is.
                let _ = if self.is_worker { write(&mut to, &self.hello()).await } else { Ok(()) };
                return Ok(Over::Another);
            }
            (None, Some(new)) => self.worker = Some(new),
            (None, None) => return Err("it did not tell who it is".into()),
            _ => {}
        }
        if self.is_worker {
            write(&mut to, &self.hello()).await?;
        }
        self.arrived(have);
        self.heard_at = Some(Instant::now());
        let (queue, lines) = unbounded_channel();
        // Beside reading: two sides that only write wait for each other.
        let mut writing = Box::pin(write_all(&mut to, lines));
        let mut next = self.first;
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_until = Instant::now() + SILENCE;
        loop {
            while let Some(item) = usize::try_from(next - self.first).ok().and_then(|at| self.said.get(at)) {
                let _ = queue.send(Frame::Item { number: next, item: item.clone() });
                next += 1;
            }
            if self.done() {
                // The other side has to know that this one has its last, too.
                let _ = queue.send(Frame::Have(self.have));
                drop(queue);
                let _ = timeout(SILENCE, writing).await;
                return Ok(Over::Done);
            }
            tokio::select! {
                frame = frames.next_line() => {
                    let frame = parse(frame)?;
                    self.heard_at = Some(Instant::now());
                    silent_until = Instant::now() + SILENCE;
                    match frame {
                        Frame::Item { number, item } => match self.hear(number, item)? {
                            Some(Item::Line(line)) => {
                                if let Some(heard) = heard {
                                    let _ = heard.send(line);
                                }
                            }
                            Some(Item::End) => {
                                *heard = None;
                                let _ = queue.send(Frame::Have(self.have));
                            }
                            None => {}
                        },
                        Frame::Have(have) => self.arrived(have),
                        Frame::Hello { .. } => return Err("it greeted twice".into()),
                    }
                }
                line = say.recv(), if !self.ended => match line {
                    Some(line) => self.said.push_back(Item::Line(line)),
                    None => {
                        self.ended = true;
                        self.said.push_back(Item::End);
                    }
                },
                _ = beat.tick() => {
                    let _ = queue.send(Frame::Have(self.have));
                }
                written = &mut writing => written?,
                () = tokio::time::sleep_until(silent_until) => {
                    return Err(format!("nothing came for {} s", SILENCE.as_secs()));
                }
            }
        }
    }

    fn hello(&self) -> Frame {
        Frame::Hello { worker: self.worker.clone(), have: self.have }
    }
}

type Frames<R> = Lines<BufReader<R>>;

async fn read<R: AsyncRead + Unpin>(frames: &mut Frames<R>) -> Result<Frame, String> {
    match timeout(SILENCE, frames.next_line()).await {
        Ok(line) => parse(line),
        Err(_) => Err(format!("nothing came for {} s", SILENCE.as_secs())),
    }
}

fn parse(line: std::io::Result<Option<String>>) -> Result<Frame, String> {
    let line = line.map_err(|e| e.to_string())?.ok_or("the connection was closed")?;
    serde_json::from_str(&line).map_err(|e| format!("what came cannot be read: {e}"))
}

async fn write_all(
    to: &mut (impl AsyncWrite + Unpin),
    mut frames: UnboundedReceiver<Frame>,
) -> Result<(), String> {
    while let Some(frame) = frames.recv().await {
        write(to, &frame).await?;
    }
    Ok(())
}

async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> Result<(), String> {
    let mut line = serde_json::to_vec(frame).map_err(|e| e.to_string())?;
    line.push(b'\n');
    let writing = async {
        to.write_all(&line).await?;
        to.flush().await
    };
    match timeout(SILENCE, writing).await {
        Ok(written) => written.map_err(|e| e.to_string()),
        Err(_) => Err(format!("nothing was taken for {} s", SILENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    /// Carries so many bytes in each direction, then breaks.
    async fn carry(a: DuplexStream, b: DuplexStream, bytes: u64) {
        let ((mut a_from, mut a_to), (mut b_from, mut b_to)) = (split(a), split(b));
        let there = async { tokio::io::copy(&mut (&mut a_from).take(bytes), &mut b_to).await };
        let back = async { tokio::io::copy(&mut (&mut b_from).take(bytes), &mut a_to).await };
        tokio::select! { _ = there => {}, _ = back => {} }
    }

    #[tokio::test]
    async fn each_line_arrives_once_whatever_the_connections_do() {
        for bytes in (40..400).step_by(13) {
            let (mut worker, mut leader) = (Session::of_worker(), Session::of_leader());
            let ((orders, mut say_leader), (told, mut say_worker)) =
                (unbounded_channel(), unbounded_channel());
            let ((to_worker, mut at_worker), (to_leader, mut at_leader)) =
                (unbounded_channel(), unbounded_channel());
            let (mut to_worker, mut to_leader) = (Some(to_worker), Some(to_leader));
            let lines: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
            for line in &lines {
                orders.send(line.clone()).expect("kept");
                told.send(line.to_uppercase()).expect("kept");
            }
            drop((orders, told));
            let mut connections = 0;
            loop {
                connections += 1;
                assert!(connections < 2000, "{bytes} bytes a connection are too few");
                let ((a, a_far), (b, b_far)) = (duplex(64), duplex(64));
                // What is lost with each connection grows, so that there is an end.
                let carried = carry(a_far, b_far, bytes + 20 * connections);
                let (one, other, ()) = tokio::join!(
                    leader.talk(a, &mut say_leader, &mut to_leader),
                    worker.talk(b, &mut say_worker, &mut to_worker),
                    carried
                );
                assert!(one != Over::Another && other != Over::Another);
                if one == Over::Done {
                    break;
                }
            }
            let mut received = (Vec::new(), Vec::new());
            while let Ok(line) = at_worker.try_recv() {
                received.0.push(line);
            }
            while let Ok(line) = at_leader.try_recv() {
                received.1.push(line);
            }
            assert_eq!(received.0, lines);
            assert_eq!(received.1, lines.iter().map(|line| line.to_uppercase()).collect::<Vec<_>>());
            assert!(worker.heard_all() && leader.heard_all());
        }
    }

    #[tokio::test]
    async fn a_worker_that_was_started_again_is_another() {
        let (mut leader, mut heard) = (Session::of_leader(), None);
        let (_orders, mut say) = unbounded_channel();
        for again in [false, true] {
            let (mut worker, mut nobody) = (Session::of_worker(), None);
            let (_told, mut told) = unbounded_channel();
            let (a, b) = duplex(1024);
            let theirs = async {
                tokio::select! {
                    over = worker.talk(b, &mut told, &mut nobody) => over,
                    () = tokio::time::sleep(2 * BEAT) => Over::Broken("enough".into()),
                }
            };
            let (over, _) = tokio::join!(leader.talk(a, &mut say, &mut heard), theirs);
            assert_eq!(over == Over::Another, again, "{over:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_sound_is_given_up() {
        let (mut leader, mut heard) = (Session::of_leader(), None);
        let (_orders, mut say) = unbounded_channel();
        let (near, _far) = duplex(1024);
        let over = leader.talk(near, &mut say, &mut heard).await;
        assert_eq!(over, Over::Broken("nothing came for 5 s".into()));
    }
}
