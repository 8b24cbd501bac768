//! A lane's connections to one replica, and the requests that wait for them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::load::NotSent;
use crate::load::redirect::Hop;
use crate::load::requests::{Number, Template};
use crate::load::schedule::{Ticket, Tickets};
use crate::load::wire::Asked;

/// The pause after a first failed connection; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A request on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub index: u64,
    pub due: Instant,
    pub phase: usize,
    pub request: usize,
    /// How often it was handed back unsent.
    pub unsent: u32,
    /// How often it may be sent again after a failure.
    pub retries: u32,
    /// How many redirects it may follow.
    pub redirects: u32,
    /// Which request of this ticket it is: 0, or more for redirects and retries.
    pub turn: u32,
    /// Where a redirect led.
    pub hop: Option<Box<Hop>>,
}

impl Job {
    /// What sets its id apart.
    pub(super) fn number(&self) -> Number {
        Number { user: None, index: self.index, turn: self.turn }
    }

    /// What is sent for it to a replica.
    pub(super) fn asked<'a>(&'a self, template: &'a Template, replica: usize) -> Asked<'a> {
        let address = &template.to[replica];
        Asked { template, address, hop: self.hop.as_deref(), number: self.number() }
    }
}

/// One connection, as the lane sees it.
#[derive(Debug)]
pub(super) struct Slot {
    inbox: RefCell<VecDeque<Job>>,
    waker: RefCell<Option<Waker>>,
    /// Whether it takes no further request, now or later.
    pub leaving: Cell<bool>,
    /// How many more requests it takes at the same time.
    pub free: Cell<usize>,
}

impl Slot {
    pub(super) fn new(capacity: usize) -> Rc<Slot> {
        Rc::new(Slot {
            inbox: RefCell::default(),
            waker: RefCell::default(),
            leaving: Cell::new(false),
            free: Cell::new(capacity),
        })
    }

    /// Hands it a request.
    pub(super) fn give(&self, job: Job) {
        self.inbox.borrow_mut().push_back(job);
        self.wake();
    }

    /// How many requests it was handed and has not received.
    pub(super) fn handed(&self) -> usize {
        self.inbox.borrow().len()
    }

    /// What it was handed.
    pub(super) fn receive(&self) -> Option<Job> {
        self.inbox.borrow_mut().pop_front()
    }

    /// Runs its task soon.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Remembers how its task is woken.
    pub(super) fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

/// A lane's connections to one replica.
#[derive(Debug)]
pub(super) struct Pool {
    tickets: Tickets,
    /// Taken from the schedule, and waiting.
    head: Option<Ticket>,
    /// Handed back unsent, retried, or redirected: before all others.
    pub again: VecDeque<Job>,
    /// Connections that take a request now; the one that was used last is the last.
    pub idle: Vec<Rc<Slot>>,
    pub connecting: usize,
    pub live: usize,
    /// Connections that it may have.
    pub bound: usize,
    /// Requests that a connection takes at the same time, as the server said last.
    streams: usize,
    failures: u32,
    pause_until: Option<Instant>,
    /// Why the last attempt to connect failed.
    pub reason: NotSent,
    /// Whether this machine, not the server, was the reason.
    pub limited: bool,
}

impl Pool {
    pub(super) fn new(tickets: Tickets, bound: usize, streams: usize) -> Pool {
        Pool {
            tickets,
            head: None,
            again: VecDeque::new(),
            idle: Vec::new(),
            connecting: 0,
            live: 0,
            bound,
            streams,
            failures: 0,
            pause_until: None,
            reason: NotSent::Connect,
            limited: false,
        }
    }

    /// The next request of the schedule, if its number is below `end`; it stays here until taken.
    pub(super) fn peek(&mut self, end: u64) -> Option<&Ticket> {
        if self.head.is_none() && self.tickets.upcoming().is_some_and(|index| index < end) {
            self.head = self.tickets.next();
        }
        self.head.as_ref()
    }

    /// Takes what `peek` showed.
    pub(super) fn take(&mut self) -> Option<Ticket> {
        self.head.take()
    }

    /// Requests with numbers below `end` that wait.
    pub(super) fn waiting(&self, end: u64) -> u64 {
        self.again.len() as u64 + u64::from(self.head.is_some()) + self.tickets.below(end)
    }

    /// Whether the schedule has nothing more for it.
    pub(super) fn exhausted(&self) -> bool {
        self.tickets.upcoming().is_none() && self.head.is_none() && self.again.is_empty()
    }

    /// Whether no connection is made for now, because the last attempt failed.
    pub(super) fn paused(&self, now: Instant) -> bool {
        self.pause_until.is_some_and(|until| now < until)
    }

    /// How many connections to make now, where so many requests wait and none is free.
    pub(super) fn room(&self, waiting: u64, now: Instant) -> usize {
        if self.paused(now) {
            return 0;
        }
        // After a failure one attempt at a time.
        let wanted = if self.failures > 0 {
            1
        } else {
            usize::try_from(waiting).unwrap_or(usize::MAX).div_ceil(self.streams)
        };
        let room = self.bound.saturating_sub(self.live + self.connecting);
        wanted.saturating_sub(self.connecting).min(room)
    }

    /// Whether what becomes due has somebody to look for a connection for it.
    pub(super) fn takes_more(&self, now: Instant) -> bool {
        !self.idle.is_empty()
            || self.live + self.connecting < self.bound
            || self.paused(now)
            || !self.again.is_empty()
    }

    /// Whether there is no connection, and none is being made.
    pub(super) fn is_down(&self) -> bool {
        self.live == 0 && self.connecting == 0
    }

    /// Whether all connections that it may have wait for answers.
    pub(super) fn is_full(&self) -> bool {
        self.live >= self.bound
    }

    /// An attempt to connect failed.
    pub(super) fn failed(&mut self, reason: NotSent, limited: bool, now: Instant) {
        self.connecting -= 1;
        self.reason = reason;
        self.limited = limited;
        if limited && self.live > 0 {
            self.bound = self.live;
        }
        self.pause_until = Some(now + (FIRST_PAUSE * 2u32.pow(self.failures.min(10))).min(LONGEST_PAUSE));
        self.failures += 1;
    }

    /// An attempt to connect succeeded; the connection takes so many requests at the same time.
    pub(super) fn connected(&mut self, streams: usize) {
        self.streams = streams.max(1);
        self.connecting -= 1;
        self.live += 1;
        self.failures = 0;
        self.pause_until = None;
    }

    /// A connection takes no further requests: another one may take its place.
    pub(super) fn ended(&mut self, slot: &Rc<Slot>) {
        self.live -= 1;
        self.busy(slot);
    }

    /// A connection takes no request for now.
    pub(super) fn busy(&mut self, slot: &Rc<Slot>) {
        self.idle.retain(|idle| !Rc::ptr_eq(idle, slot));
    }
}
