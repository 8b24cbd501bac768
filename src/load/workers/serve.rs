//! A worker: prepares, says so, starts with the others, and tells what became of its part.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::sync::mpsc::unbounded_channel;

use super::message::{Assignment, Done, Order, Told, send};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::lines::Lines;
use crate::load::execute::{LoadRun, Part, check, execute_part};
use crate::load::progress::Sampler;
use crate::secret;

/// Serves as a worker until its part is told, it is told to stop, or nobody tells it anything any more:
/// where the orders end, whoever gave them is gone, and so is the load.
///
/// # Errors
/// Orders that cannot be read (usage), and whatever the load meets; both are told before.
pub async fn serve(
    orders: impl AsyncBufRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    interrupt: &Interrupt,
) -> Result<()> {
    // Nobody's but this worker's: no two clocks have to agree.
    let clock = Instant::now();
    let mut orders = Lines::new(orders);
    let worked = work(clock, &mut orders, &mut to, &interrupt.child()).await;
    if let Err(error) = &worked {
        // Where nobody listens any more, the exit code tells.
        let _ = send(&mut to, &Told::failed(error)).await;
    }
    worked
}

async fn work(
    clock: Instant,
    orders: &mut Lines<impl AsyncBufRead + Unpin>,
    to: &mut (impl AsyncWrite + Unpin),
    interrupt: &Interrupt,
) -> Result<()> {
    let Some(Order::Prepare(assignment)) = interrupt.or(next(orders)).await?? else { return Ok(()) };
    if assignment.version != env!("CARGO_PKG_VERSION") {
        return Err(Error::usage("a worker of another version of sre cannot take part").because_of(format!(
            "it has {}, its leader {}",
            env!("CARGO_PKG_VERSION"),
            assignment.version
        )));
    }
    secret::take(assignment.secrets.clone());
    check(&assignment.scenario, &assignment.replicas)?;
    let sampler = Sampler::new(&assignment.scenario);
    send(to, &Told::Ready).await?;
    let at = loop {
        match interrupt.or(next(orders)).await?? {
            Some(Order::Clock { question }) => {
                let now = u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX);
                send(to, &Told::Clock { question, now }).await?;
            }
            Some(Order::Start { at }) => break at,
            _ => return Ok(()),
        }
    };
    // Where that has gone by, what is late is told as late.
    let start = clock + Duration::from_micros(at);
    let part = run(&assignment, &sampler, start, orders, to, interrupt).await?;
    send(to, &Told::Done(Box::new(Done::new(part)?))).await
}

async fn next(orders: &mut Lines<impl AsyncBufRead + Unpin>) -> Result<Option<Order>> {
    let problem = || Error::usage("an order to a worker cannot be read");
    match orders.next_line().await.map_err(|e| problem().because(e))? {
        Some(line) => Ok(Some(serde_json::from_str(&line).map_err(|e| problem().because(e))?)),
        None => Ok(None),
    }
}

async fn run(
    assignment: &Assignment,
    sampler: &Sampler,
    start: Instant,
    orders: &mut Lines<impl AsyncBufRead + Unpin>,
    to: &mut (impl AsyncWrite + Unpin),
    interrupt: &Interrupt,
) -> Result<Part> {
    let (seconds, mut told) = unbounded_channel();
    let tell = |second, what| {
        let _ = seconds.send(Told::Second { second, what });
    };
    let load = LoadRun {
        scenario: &assignment.scenario,
        replicas: &assignment.replicas,
        salt: &assignment.salt,
        share: assignment.share,
        interrupt,
        start,
        progress: &|_| {},
        // The leader is told with each second.
        noted: &|_| {},
    };
    let mut load = Box::pin(execute_part(&load, sampler, &tell));
    let mut listening = true;
    loop {
        tokio::select! {
            part = &mut load => {
                while let Ok(second) = told.try_recv() {
                    send(to, &second).await?;
                }
                return part;
            }
            Some(second) = told.recv() => {
                if send(to, &second).await.is_err() {
                    interrupt.trigger(Exit::Interrupted);
                }
            }
            // An order to stop, and no further order: the same.
            _ = next(orders), if listening => {
                listening = false;
                interrupt.trigger(Exit::Interrupted);
            }
        }
    }
}
