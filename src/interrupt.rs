//! Ctrl-C, SIGTERM, SIGHUP and SIGQUIT, as a token that every wait listens to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::process::Signal;
use tokio::signal::unix::SignalKind;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::exit::Exit;

/// Tells whether the process was asked to end, and lets waits end early.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    token: CancellationToken,
    signal: Arc<AtomicU8>,
}

impl Interrupt {
    /// Listens to SIGINT, SIGTERM, SIGHUP and SIGQUIT from now on; must be called inside the tokio runtime.
    /// The first signal cancels; a third ends the process at once. A SIGHUP that was ignored when the process
    /// began, as `nohup` has it, stays so.
    pub fn listen() -> Result<Interrupt> {
        let interrupt = Interrupt::default();
        // goose sets a ctrlc handler of its own unless there is one already, and its second Ctrl-C
        // ends the process without cleaning up. tokio's handlers, set later, are called beside it.
        let _ = ctrlc::set_handler(|| {});
        let hang_up = (!is_ignored(Signal::HUP)).then_some((SignalKind::hangup(), Exit::HungUp));
        let others = [
            (SignalKind::interrupt(), Exit::Interrupted),
            (SignalKind::terminate(), Exit::Terminated),
            (SignalKind::quit(), Exit::Quit),
        ];
        for (kind, exit) in others.into_iter().chain(hang_up) {
            let mut signals = tokio::signal::unix::signal(kind)
                .map_err(|e| Error::target("signals cannot be listened to").because(e))?;
            let interrupt = interrupt.clone();
            tokio::spawn(async move {
                let mut times = 0;
                while signals.recv().await.is_some() {
                    interrupt.trigger(exit);
                    times += 1;
                    if times == 3 {
                        std::process::exit(exit.code().into());
                    }
                }
            });
        }
        Ok(interrupt)
    }

    /// Interrupts, as a signal would; `exit` is what the process will end with.
    pub fn trigger(&self, exit: Exit) {
        let _ = self.signal.compare_exchange(0, exit.code(), Ordering::SeqCst, Ordering::SeqCst);
        self.token.cancel();
    }

    /// One that ends with this one, and can be ended before it.
    pub fn child(&self) -> Interrupt {
        Interrupt { token: self.token.child_token(), signal: Arc::default() }
    }

    /// Comes back when the process was asked to end.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }

    /// The token behind it, for what takes one.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// What the process was asked to end with, if it was.
    pub fn exit(&self) -> Option<Exit> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            code => Exit::from_code(code).filter(|exit| exit.is_interruption()).or(Some(Exit::Interrupted)),
        }
    }

    /// An error if the process was asked to end.
    pub fn check(&self) -> Result<()> {
        match self.exit() {
            Some(exit) => Err(Error::new(exit, exit.meaning())),
            None => Ok(()),
        }
    }

    /// Runs something, unless the process is asked to end first.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.wait() => {
                let exit = self.exit().unwrap_or(Exit::Interrupted);
                Err(Error::new(exit, exit.meaning()))
            }
            result = work => Ok(result),
        }
    }
}

/// Whether a signal was ignored when this process began; must be asked before it is listened to.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (signal.as_raw() - 1)) != 0
}
