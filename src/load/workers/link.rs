//! The seam between a load's leader and its workers: lines to a worker and lines of it, whatever carries them.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// A worker as its leader sees it. It is let go when this is dropped.
#[derive(Debug)]
pub struct Link {
    /// What tells it from the others, behind its number: `pod sre-load-x-0-abcde on node-1`; often nothing.
    pub place: String,
    /// Its process id, where it is a process of this machine.
    pub process: Option<u32>,
    /// Lines to it. Where this is dropped it is told that no further order will come.
    pub(super) orders: UnboundedSender<String>,
    /// Its lines; the last is how it ended, or why it counts as lost.
    pub(super) told: UnboundedReceiver<Result<String, String>>,
    carrier: Carrier,
}

/// The other end of a [`Link`], for what carries its lines.
pub struct Carried {
    /// Lines to the worker.
    pub orders: UnboundedReceiver<String>,
    /// Lines of the worker.
    pub told: UnboundedSender<Result<String, String>>,
}

impl Link {
    /// A link whose lines are carried by a task, which is ended with the link.
    pub fn new(place: String, process: Option<u32>, carry: impl FnOnce(Carried) -> JoinHandle<()>) -> Link {
        let (orders, to_worker) = unbounded_channel();
        let (of_worker, told) = unbounded_channel();
        let carrier = Carrier(carry(Carried { orders: to_worker, told: of_worker }));
        Link { place, process, orders, told, carrier }
    }

    /// The two directions, and what must be kept as long as they are used.
    pub(super) fn split(
        self,
    ) -> (UnboundedSender<String>, UnboundedReceiver<Result<String, String>>, Carrier) {
        (self.orders, self.told, self.carrier)
    }
}

/// The task that carries a link's lines; it is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Carrier(JoinHandle<()>);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}
