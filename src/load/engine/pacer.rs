//! The pacer: tells the lanes how many requests are due.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::run::Shared;
use crate::load::schedule::Tickets;

/// Wakes are at least this far apart: at high rates several requests become due at once.
const BATCH: Duration = Duration::from_micros(50);

/// The same while every connection of those that were due is busy: nobody waits for the pacer.
const BUSY: Duration = Duration::from_micros(250);

/// Looks this often whether the load was stopped.
const LOOK: Duration = Duration::from_millis(20);

/// Raises the number of due requests as time goes by, and wakes the lanes that they belong to; comes
/// back when all are due or the load was stopped. Never early: a request leaves at its time or later.
pub(super) fn pace(shared: &Shared) {
    precise_sleep();
    let mut next = Tickets::all(shared.schedule.clone()).dues().peekable();
    while let Some(&(first, due)) = next.peek() {
        let due = shared.start + due;
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
        let mut end = first;
        let mut woken = 0u64;
        while let Some((index, _)) = next.next_if(|(_, due)| shared.start + *due <= now) {
            end = index + 1;
            if let Some(lane) = shared.lane_of(index) {
                woken |= 1 << lane;
            }
        }
        shared.due.store(end, Ordering::SeqCst);
        let (mut woke, mut busy) = (false, false);
        for (lane, (wake, hungry)) in shared.wakes.iter().zip(&shared.hungry).enumerate() {
            if woken & (1 << lane) == 0 {
                continue;
            }
            if hungry.load(Ordering::SeqCst) {
                wake.notify_one();
                woke = true;
            } else {
                busy = true;
            }
        }
        std::thread::sleep(if busy && !woke { BUSY } else { BATCH });
    }
    // Nothing further will be due: the lanes may end.
    shared.wakes.iter().for_each(tokio::sync::Notify::notify_one);
}

/// Lets this thread's sleeps end on time; Linux lengthens them by 50 µs otherwise.
fn precise_sleep() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
}
