//! A worker as a child process of this one.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::mpsc::UnboundedReceiver;

use super::link::{Carried, Link};
use crate::error::{Error, Result};
use crate::lines::Lines;

/// So many workers, each a child process of this program. Each is ended when its link is dropped, and ends by
/// itself when this process is gone.
///
/// # Errors
/// One that cannot be started (6).
pub fn processes(program: &OsStr, workers: u64) -> Result<Vec<Link>> {
    (0..workers).map(|_| start(program)).collect()
}

fn start(program: &OsStr) -> Result<Link> {
    let failed = || Error::target("a load worker cannot be started");
    let mut child = Command::new(program)
        .arg("worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is this process' to handle: the worker is told to stop, and tells what it knows.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| failed().because(e))?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(to), Some(told), Some(errors)) = pipes else { return Err(failed()) };
    let process = child.id();
    Ok(Link::new(String::new(), process, |ends| {
        tokio::spawn(carry(child, to, BufReader::new(told), errors, ends))
    }))
}

async fn carry(
    mut child: Child,
    to: ChildStdin,
    told: impl tokio::io::AsyncBufRead + Unpin,
    errors: ChildStderr,
    ends: Carried,
) {
    let Carried { orders, told: of_worker } = ends;
    let listen = async {
        let mut lines = Lines::new(told);
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = of_worker.send(Ok(line));
        }
    };
    let mut listening = Box::pin(async { tokio::join!(listen, last_line(errors)).1 });
    let mut commanding = Box::pin(command(to, orders));
    let last_words = tokio::select! {
        last_words = &mut listening => last_words,
        // With the last order its pipe is closed, and the worker comes to its end.
        _ = &mut commanding => listening.await,
    };
    let status = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let _ = of_worker.send(Err(match last_words {
        Some(words) => format!("{status}: {words}"),
        None => status,
    }));
}

/// Hands orders on until there are no more, or nobody takes them; how the process ends tells why.
async fn command(mut to: ChildStdin, mut orders: UnboundedReceiver<String>) -> std::io::Result<()> {
    while let Some(order) = orders.recv().await {
        to.write_all(order.as_bytes()).await?;
        to.write_all(b"\n").await?;
        to.flush().await?;
    }
    Ok(())
}

async fn last_line(errors: ChildStderr) -> Option<String> {
    let (mut lines, mut last) = (Lines::new(BufReader::new(errors)), None);
    while let Ok(Some(line)) = lines.next_line().await {
        last = Some(line);
    }
    last
}
