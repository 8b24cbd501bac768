//! The pacer: tells the lanes how many requests are due.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::run::Shared;
use crate::load::schedule::Tickets;

/// Wakes are at least this far apart: at high rates several requests become due at once.
const BATCH: Duration = Duration::from_micros(50);

/// Looks this often whether the load was stopped.
const LOOK: Duration = Duration::from_millis(20);

/// Raises the number of due requests as time goes by, and wakes the lanes that they belong to; comes
/// back when all are due or the load was stopped. Never early: a request leaves at its time or later.
pub(super) fn pace(shared: &Shared) {
    precise_sleep();
    let mut next = Tickets::all(shared.schedule.clone()).peekable();
    while let Some(first) = next.peek() {
        let due = shared.start + first.due;
        let now = loop {
            let now = Instant::now();
            if now >= due || shared.stopped() {
                break now;
            }
            std::thread::sleep((due - now).min(LOOK));
        };
        if shared.stopped() {
            return;
        }
        let mut end = first.index;
        let mut woken = 0u64;
        while let Some(ticket) = next.next_if(|ticket| shared.start + ticket.due <= now) {
            end = ticket.index + 1;
            if let Some(lane) = shared.lane_of(ticket.index) {
                woken |= 1 << lane;
            }
        }
        shared.due.store(end, Ordering::Release);
        for (lane, wake) in shared.wakes.iter().enumerate() {
            if woken & (1 << lane) != 0 {
                wake.notify_one();
            }
        }
        std::thread::sleep(BATCH);
    }
    // Nothing further will be due: the lanes may end.
    shared.wakes.iter().for_each(tokio::sync::Notify::notify_one);
}

/// Lets this thread's sleeps end on time; Linux lengthens them by 50 µs otherwise.
fn precise_sleep() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
}
