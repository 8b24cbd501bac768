//! What becomes of requests on a lane: their fates, and what follows from them.

use std::time::Instant;

use super::lane::Lane;
use super::pool::Job;
use crate::load::recorder::Ended;
use crate::load::redirect::follow;
use crate::load::wire::{End, UNSENT};
use crate::load::{Fate, NotSent, Noted, Unexpected};

impl Lane {
    /// Records how an exchange ended, and what follows from it.
    pub(super) fn finish(&self, replica: usize, job: Job, sent: Instant, end: End) {
        let now = Instant::now();
        self.in_flight.set(self.in_flight.get() - 1);
        match end {
            End::Unsent => {
                self.left.borrow_mut().recorder.unsent();
                self.put_back(replica, job, now);
            }
            End::Unknown(why) => {
                self.note_sent(sent);
                self.record(replica, &job, Fate::Unknown(why), None, sent, now);
                self.retry(replica, job, now);
            }
            End::Unprocessed => {
                self.left.borrow_mut().recorder.unsent();
                self.send_elsewhere(replica, job, now);
            }
            End::Refused => {
                self.left.borrow_mut().recorder.unsent();
                self.not_sent(replica, job, NotSent::RefusedByServer, now);
            }
            End::Answered { status, missing, location } => {
                self.note_sent(sent);
                let template = &self.shared.templates[job.request];
                let hop = location.filter(|_| job.redirects > 0).and_then(|location| {
                    let (to, version) = (&template.to[replica], self.shared.http.version);
                    follow(template, to, job.hop.as_deref(), version, status, &location)
                });
                let unexpected = match hop {
                    Some(_) => None,
                    None if !template.expect.allows(status.as_u16()) => Some(Unexpected::Status),
                    None => missing,
                };
                self.record(replica, &job, Fate::Answered(status.as_u16()), unexpected, sent, now);
                if hop.is_some() {
                    let next = Job {
                        due: now,
                        redirects: job.redirects - 1,
                        turn: job.turn + 1,
                        unsent: 0,
                        hop: hop.map(Box::new),
                        ..job
                    };
                    self.pools[replica].borrow_mut().again.push_back(next);
                    self.wake().notify_one();
                }
            }
        }
        if self.in_flight.get() == 0 && self.done() {
            self.wake().notify_one();
        }
    }

    fn note_sent(&self, sent: Instant) {
        let mut left = self.left.borrow_mut();
        left.last_sent = left.last_sent.max(sent);
    }

    /// Gives a request that certainly never left another connection, or gives it up.
    pub(super) fn put_back(&self, replica: usize, job: Job, now: Instant) {
        if job.unsent < UNSENT {
            self.pools[replica].borrow_mut().again.push_back(Job { unsent: job.unsent + 1, ..job });
            self.wake().notify_one();
        } else {
            self.not_sent(replica, job, NotSent::Connect, now);
        }
    }

    /// Gives a request that a server has not begun with, because it goes, another connection; or gives it up when its
    /// time is over.
    fn send_elsewhere(&self, replica: usize, job: Job, now: Instant) {
        if now < job.due + self.timeout() {
            self.pools[replica].borrow_mut().again.push_back(job);
            self.wake().notify_one();
        } else {
            self.not_sent(replica, job, NotSent::RefusedByServer, now);
        }
    }

    /// A request was given up before anything of it left.
    pub(super) fn not_sent(&self, replica: usize, job: Job, why: NotSent, now: Instant) {
        self.record(replica, &job, Fate::NotSent(why), None, now, now);
        self.retry(replica, job, now);
    }

    fn record(
        &self,
        replica: usize,
        job: &Job,
        fate: Fate,
        unexpected: Option<Unexpected>,
        sent: Instant,
        end: Instant,
    ) {
        let mut left = self.left.borrow_mut();
        let hop = match &job.hop {
            None => 0,
            Some(hop) => left.recorder.hop(hop.method.as_str(), hop.url.path()),
        };
        left.last_end = left.last_end.max(end);
        if self.shared.notes.wants(job.request, fate) {
            left.recorder.note(Noted {
                number: job.number().to_string(),
                request: job.request,
                replica,
                status: fate.status(),
                end: end.saturating_duration_since(self.shared.start).as_secs_f64(),
            });
        }
        left.recorder.ended(&Ended {
            phase: job.phase,
            request: job.request,
            replica,
            hop,
            fate,
            unexpected,
            due: job.due,
            sent,
            end,
        });
    }

    /// Lets a failed request be sent again, if it may.
    fn retry(&self, replica: usize, job: Job, now: Instant) {
        if job.retries > 0 {
            let again = Job { due: now, retries: job.retries - 1, turn: job.turn + 1, unsent: 0, ..job };
            self.pools[replica].borrow_mut().again.push_back(again);
            self.wake().notify_one();
        }
    }
}
