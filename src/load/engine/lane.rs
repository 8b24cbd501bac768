//! A lane: one thread that sends its share of the schedule over its share of the connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::pool::{Job, Pool, Slot};
use super::run::{Report, Shared};
use super::{http1, http2};
use crate::load::NotSent;
use crate::load::recorder::Recorder;
use crate::load::requests::Ids;
use crate::load::schedule::{Ticket, Tickets};
use crate::load::watch::{LATE, Lateness};
use crate::load::wire::http1::BUFFER;
use crate::load::wire::http2::STREAMS;
use crate::scenario::HttpVersion;

/// How often a lane looks around when nothing wakes it: for requests whose time is over, and pauses that are.
const LOOK: Duration = Duration::from_millis(20);

/// After an interruption, answers are waited for this long.
const GRACE: Duration = Duration::from_secs(2);

/// How a request found its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// One was idle.
    Idle,
    /// One had just been freed.
    Freed,
    /// One had just been made.
    Connected,
}

/// What a lane leaves behind.
#[derive(Debug)]
pub(super) struct Left {
    pub recorder: Recorder,
    /// By phase.
    pub lateness: Vec<Lateness>,
    /// When the last request was sent, and the last fate known.
    pub last_sent: Instant,
    pub last_end: Instant,
    /// Connections that it might have.
    pub connections: usize,
    /// What the system said where it gave no further connection.
    pub limit: Option<String>,
}

/// One thread's part of the load.
pub(super) struct Lane {
    pub shared: Arc<Shared>,
    number: usize,
    pub pools: Vec<RefCell<Pool>>,
    slots: RefCell<Vec<Rc<Slot>>>,
    pub left: RefCell<Left>,
    pub ids: RefCell<Ids>,
    /// Where answers are read into, by one connection at a time.
    pub buffer: RefCell<Vec<u8>>,
    pub in_flight: Cell<u64>,
    aborted: Cell<bool>,
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, number: usize) -> Rc<Lane> {
        let replicas = shared.connectors.len();
        let share = shared.share.split(number as u64, shared.wakes.len() as u64);
        let streams = match shared.http.version {
            HttpVersion::Http1 => 1,
            HttpVersion::Http2 => STREAMS,
        };
        let pools: Vec<_> = (0..replicas)
            .map(|replica| {
                let tickets = Tickets::new(shared.schedule.clone(), share, replica as u64, replicas as u64);
                RefCell::new(Pool::new(tickets, shared.bound(number, replica), streams))
            })
            .collect();
        let phases = shared.schedule.phases().len();
        let left = Left {
            recorder: Recorder::new(phases, shared.templates.len(), replicas),
            lateness: vec![Lateness::default(); phases],
            last_sent: shared.start,
            last_end: shared.start,
            connections: 0,
            limit: None,
        };
        Rc::new(Lane {
            number,
            pools,
            slots: RefCell::default(),
            left: RefCell::new(left),
            ids: RefCell::new(Ids::new(shared.seed, &shared.salt)),
            buffer: RefCell::new(vec![0; BUFFER]),
            in_flight: Cell::new(0),
            aborted: Cell::new(false),
            shared,
        })
    }

    /// Runs until every request of its share has its fate, or the load is stopped.
    pub(super) async fn run(self: Rc<Lane>, reports: &UnboundedSender<Report>) -> Left {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopped = None;
        let mut second = 1;
        loop {
            let now = Instant::now();
            while now >= self.shared.start + Duration::from_secs(second) {
                self.report(second, reports);
                second += 1;
            }
            if self.shared.stopped() {
                let until = *stopped.get_or_insert(now + self.timeout().min(GRACE));
                if self.in_flight.get() == 0 || now >= until {
                    break;
                }
            } else {
                for replica in 0..self.pools.len() {
                    self.dispatch(replica, now);
                }
                if self.done() {
                    break;
                }
            }
            if self.wants_more() {
                continue;
            }
            tokio::select! {
                () = self.wake().notified() => {}
                _ = look.tick() => {}
            }
        }
        self.abort().await;
        self.report(second, reports);
        let mut left = self.left.borrow_mut();
        left.connections = self.pools.iter().map(|pool| pool.borrow().bound).sum();
        let empty = Recorder::new(0, 0, 0);
        Left {
            recorder: std::mem::replace(&mut left.recorder, empty),
            lateness: std::mem::take(&mut left.lateness),
            limit: left.limit.take(),
            ..*left
        }
    }

    /// Ends what is still on its way: its fate is unknown.
    async fn abort(&self) {
        self.aborted.set(true);
        let slots = self.slots.borrow().clone();
        slots.iter().for_each(|slot| slot.wake());
        // Each connection's task runs once and finds that it is over.
        while self.in_flight.get() > 0 {
            tokio::task::yield_now().await;
        }
    }

    fn report(&self, second: u64, reports: &UnboundedSender<Report>) {
        let what = self.left.borrow_mut().recorder.look(self.in_flight.get());
        // Nobody listens any more only where the load was given up.
        let _ = reports.send(Report::Second { second, what });
    }

    /// Tells the pacer whether to wake this lane: while no connection is free and none may be made, whichever is
    /// freed next looks for itself. `true` where it was not woken until now: it has to look once more.
    fn wants_more(&self) -> bool {
        let now = Instant::now();
        let hungry = self.pools.iter().any(|pool| pool.borrow().takes_more(now));
        let before = self.shared.hungry[self.number].swap(hungry, Ordering::SeqCst);
        hungry && !before
    }

    /// Wakes this lane's loop.
    pub(super) fn wake(&self) -> &Notify {
        &self.shared.wakes[self.number]
    }

    /// Whether every request of its share has its fate.
    pub(super) fn done(&self) -> bool {
        self.in_flight.get() == 0 && self.pools.iter().all(|pool| pool.borrow().exhausted())
    }

    /// Whether requests on their way are given up.
    pub(super) fn aborted(&self) -> bool {
        self.aborted.get()
    }

    /// How long a request may take.
    pub(super) fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    /// Finds connections for what is due to a replica.
    fn dispatch(self: &Rc<Self>, replica: usize, now: Instant) {
        self.expire(replica, now);
        loop {
            let idle = self.pools[replica].borrow().idle.last().cloned();
            if let Some(slot) = idle {
                let Some(job) = self.take(replica, now, Found::Idle) else { return };
                slot.free.set(slot.free.get() - 1);
                if slot.free.get() == 0 {
                    self.pools[replica].borrow_mut().idle.pop();
                }
                slot.give(job);
                continue;
            }
            let mut pool = self.pools[replica].borrow_mut();
            let waiting = pool.waiting(self.shared.due());
            if waiting == 0 {
                return;
            }
            let room = pool.room(waiting, now);
            if room == 0 && pool.is_down() {
                drop(pool);
                return self.refuse(replica, now);
            }
            pool.connecting += room;
            for _ in 0..room {
                tokio::task::spawn_local(connect(self.clone(), replica));
            }
            return;
        }
    }

    /// The next request that is due to a replica, for a connection that was found in one way or another.
    pub(super) fn take(&self, replica: usize, now: Instant, found: Found) -> Option<Job> {
        if self.shared.stopped() {
            return None;
        }
        self.expire(replica, now);
        let mut pool = self.pools[replica].borrow_mut();
        if let Some(job) = pool.again.pop_front() {
            self.in_flight.set(self.in_flight.get() + 1);
            return Some(job);
        }
        pool.peek(self.shared.due())?;
        let job = self.job(pool.take()?);
        if now.saturating_duration_since(job.due) > LATE {
            let lateness = &mut self.left.borrow_mut().lateness[job.phase];
            match found {
                Found::Idle => lateness.slow += 1,
                Found::Freed if pool.is_full() => lateness.bound += 1,
                Found::Freed if pool.connecting == 0 && !pool.paused(now) => lateness.slow += 1,
                // The server has not taken a connection yet.
                Found::Freed | Found::Connected => {}
            }
        }
        self.in_flight.set(self.in_flight.get() + 1);
        Some(job)
    }

    fn job(&self, ticket: Ticket) -> Job {
        Job {
            index: ticket.index,
            due: self.shared.start + ticket.due,
            phase: ticket.phase,
            request: ticket.request,
            unsent: 0,
            retries: self.shared.http.retries,
            redirects: self.shared.http.redirects,
            turn: 0,
            hop: None,
        }
    }

    /// Gives up requests that waited for a connection longer than a request may take.
    fn expire(&self, replica: usize, now: Instant) {
        loop {
            let mut pool = self.pools[replica].borrow_mut();
            let due = pool.peek(self.shared.due()).map(|ticket| self.shared.start + ticket.due);
            if due.is_none_or(|due| now <= due + self.timeout()) {
                return;
            }
            let Some(ticket) = pool.take() else { return };
            let why = if pool.live == 0 { NotSent::ConnectTimeout } else { NotSent::Queue };
            if why == NotSent::Queue {
                self.left.borrow_mut().lateness[ticket.phase].never_bound += 1;
            }
            drop(pool);
            self.not_sent(replica, self.job(ticket), why, now);
        }
    }

    /// Gives up what is due to a replica that takes no connection.
    fn refuse(&self, replica: usize, now: Instant) {
        loop {
            let mut pool = self.pools[replica].borrow_mut();
            let job = match pool.again.pop_front() {
                Some(job) => job,
                None if pool.peek(self.shared.due()).is_some() => match pool.take() {
                    Some(ticket) => self.job(ticket),
                    None => return,
                },
                None => return,
            };
            let (why, limited) = (pool.reason, pool.limited);
            drop(pool);
            if limited {
                self.left.borrow_mut().lateness[job.phase].never_limit += 1;
            }
            self.not_sent(replica, job, why, now);
        }
    }

    /// A request leaves now.
    pub(super) fn note_leaving(&self) {
        self.left.borrow_mut().recorder.sent();
    }

    /// A connection was made; it takes so many requests at the same time.
    pub(super) fn connected(&self, replica: usize, capacity: usize) -> Rc<Slot> {
        self.pools[replica].borrow_mut().connected(capacity);
        let slot = Slot::new(capacity);
        self.slots.borrow_mut().push(slot.clone());
        slot
    }

    /// No connection was made.
    pub(super) fn connect_failed(self: &Rc<Self>, replica: usize, why: NotSent, limit: Option<String>) {
        let now = Instant::now();
        self.pools[replica].borrow_mut().failed(why, limit.is_some(), now);
        if limit.is_some() {
            self.left.borrow_mut().limit = limit;
        }
        if !self.shared.stopped() {
            self.dispatch(replica, now);
        }
    }

    /// A connection takes requests again.
    pub(super) fn free(&self, replica: usize, slot: &Rc<Slot>) {
        if slot.free.get() == 0 {
            return;
        }
        let mut pool = self.pools[replica].borrow_mut();
        pool.idle.push(slot.clone());
        self.shared.hungry[self.number].store(true, Ordering::SeqCst);
        if pool.waiting(self.shared.due()) > 0 {
            self.wake().notify_one();
        }
    }

    /// A connection takes so many requests now.
    pub(super) fn offer(&self, replica: usize, slot: &Rc<Slot>, free: usize) {
        match (slot.free.replace(free), free) {
            (0, 0) => {}
            (0, _) => self.free(replica, slot),
            (_, 0) => self.pools[replica].borrow_mut().busy(slot),
            _ => {}
        }
    }

    /// A connection takes no further requests, so that another one may take its place; those on their way go on.
    pub(super) fn retire(self: &Rc<Self>, replica: usize, slot: &Rc<Slot>) {
        if slot.leaving.replace(true) {
            return;
        }
        let now = Instant::now();
        self.pools[replica].borrow_mut().ended(slot);
        while let Some(job) = slot.receive() {
            self.in_flight.set(self.in_flight.get() - 1);
            self.put_back(replica, job, now);
        }
        if !self.shared.stopped() {
            self.dispatch(replica, now);
        }
    }

    /// A connection ended; what it was handed and did not send goes to another.
    pub(super) fn disconnected(self: &Rc<Self>, replica: usize, slot: &Rc<Slot>) {
        self.slots.borrow_mut().retain(|known| !Rc::ptr_eq(known, slot));
        self.retire(replica, slot);
    }
}

async fn connect(lane: Rc<Lane>, replica: usize) {
    let until = Instant::now() + lane.timeout();
    let connector = &lane.shared.connectors[replica];
    match tokio::time::timeout_at(until.into(), connector.connect()).await {
        Err(_) => lane.connect_failed(replica, NotSent::ConnectTimeout, None),
        Ok(Err(error)) => lane.connect_failed(replica, error.reason, error.limit),
        Ok(Ok(stream)) => match lane.shared.http.version {
            HttpVersion::Http1 => http1::serve(&lane, replica, stream).await,
            HttpVersion::Http2 => http2::serve(&lane, replica, stream, until).await,
        },
    }
}
