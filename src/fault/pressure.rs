//! Pressure on a machine from inside: what helper pods do, and what is done in the container that is to run out of
//! memory. It ends by itself.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;

use crate::interrupt::Interrupt;

/// A burner works and rests within this time.
const CYCLE: Duration = Duration::from_millis(100);

/// Memory is taken in pieces of this size.
const PIECE: usize = 4 << 20;

/// Where a container's memory in use is told: cgroup v2, then v1.
pub const IN_USE: [&str; 2] =
    ["/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"];

/// Uses so many processors for so long, or until it is interrupted.
pub async fn cpu(cores: f64, lasts: Duration, interrupt: &Interrupt) {
    let end = Instant::now() + lasts;
    let threads: Vec<_> = shares(cores)
        .into_iter()
        .map(|share| {
            let interrupt = interrupt.clone();
            std::thread::spawn(move || burn(share, end, &interrupt))
        })
        .collect();
    let _ = tokio::task::spawn_blocking(move || {
        for thread in threads {
            let _ = thread.join();
        }
    })
    .await;
}

/// The share of one processor that each thread uses.
fn shares(cores: f64) -> Vec<f64> {
    let whole = cores.max(0.0).floor();
    let rest = cores - whole;
    let mut shares = vec![1.0; whole as usize];
    if rest > 0.0 {
        shares.push(rest);
    }
    shares
}

fn burn(share: f64, end: Instant, interrupt: &Interrupt) {
    while Instant::now() < end && interrupt.exit().is_none() {
        let cycle = Instant::now();
        while cycle.elapsed() < CYCLE.mul_f64(share) {
            std::hint::spin_loop();
        }
        std::thread::sleep(CYCLE.saturating_sub(cycle.elapsed()));
    }
}

/// Takes memory until this share of the limit is in use, and keeps it for so long, until standard input ends, or
/// until it is interrupted. At the whole limit the container's first process is made the one that the kernel kills.
pub async fn memory(share: f64, limit: u64, lasts: Duration, interrupt: &Interrupt) {
    if share >= 1.0 {
        // Otherwise the kernel would kill this process, the largest, and the container would go on.
        let _ = std::fs::write("/proc/1/oom_score_adj", "1000");
    }
    if share >= 1.0 {
        let _ = overflow(limit);
    }
    let pieces = pieces(to_take(share, limit, in_use()));
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while (taken.len() as u64) < pieces && interrupt.exit().is_none() {
        // Not zeros: those would be given without being there.
        taken.push(std::hint::black_box(vec![1; PIECE]));
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    let mut stdin = tokio::io::stdin();
    let ended = stdin.read_to_end(&mut rest);
    let _ = interrupt.or(tokio::time::timeout(lasts, ended)).await;
    drop(std::hint::black_box(taken));
}

/// Writes more than the limit to a file in memory: it counts for the container and not for this process, which would
/// otherwise be the largest, and the one that is killed.
fn overflow(limit: u64) -> std::io::Result<()> {
    let file = rustix::fs::memfd_create("pressure", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    let piece = vec![1; PIECE];
    for _ in 0..=limit.saturating_mul(2) / PIECE as u64 {
        std::io::Write::write_all(&mut file, &piece)?;
    }
    Ok(())
}

/// How many bytes are missing to the share.
fn to_take(share: f64, limit: u64, in_use: u64) -> u64 {
    if share >= 1.0 {
        return limit.saturating_mul(2);
    }
    ((limit as f64 * share) as u64).saturating_sub(in_use)
}

/// How many pieces that is, and not a byte more: beyond the limit the kernel kills.
fn pieces(wanted: u64) -> u64 {
    wanted / PIECE as u64
}

fn in_use() -> u64 {
    let read = |path: &&str| std::fs::read_to_string(path).ok()?.trim().parse().ok();
    IN_USE.iter().find_map(read).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_processors() {
        assert_eq!(shares(0.0), Vec::<f64>::new());
        assert_eq!(shares(0.25), [0.25]);
        assert_eq!(shares(2.0), [1.0, 1.0]);
        assert_eq!(shares(1.5), [1.0, 0.5]);
    }

    #[test]
    fn what_is_in_use_counts() {
        assert_eq!(to_take(0.5, 1000, 200), 300);
        assert_eq!(to_take(0.5, 1000, 900), 0);
        assert_eq!(to_take(1.0, 1000, 0), 2000);
        let piece = PIECE as u64;
        assert_eq!([0, piece - 1, piece, 3 * piece - 1].map(pieces), [0, 0, 1, 2]);
    }

    #[tokio::test]
    async fn pressure_ends_at_its_time_and_when_it_is_interrupted() {
        let started = Instant::now();
        cpu(0.1, Duration::from_millis(200), &Interrupt::default()).await;
        assert!(started.elapsed() >= Duration::from_millis(200));
        let interrupted = Interrupt::default();
        interrupted.trigger(crate::exit::Exit::Terminated);
        cpu(0.1, Duration::from_secs(60), &interrupted).await;
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
