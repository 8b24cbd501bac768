//! Faults that last as long as a connection: when it ends, whatever ends it, they end by themselves.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::task::JoinHandle;

use super::record::PodRef;
use crate::error::{Error, Result};
use crate::fault::pressure::IN_USE;
use crate::lines::Lines;
use crate::target::kubernetes::client::Cluster;
use crate::target::kubernetes::failure::explain;
use crate::target::kubernetes::login;

/// Redis is paused for so long at a time; the next pause is queued behind it, on the same connection.
const SLICE: Duration = Duration::from_secs(2);

/// How long a first answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// How long an answer of Redis may be.
const LINE: u64 = 4096;

/// How long Redis may take to answer after the connection that paused it is gone.
const RESUMED: Duration = Duration::from_secs(10);

/// What holds a fault; dropping it ends the fault.
#[derive(Debug)]
pub struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn pods(cluster: &Cluster, pod: &PodRef) -> Api<Pod> {
    Api::namespaced(cluster.client(), &pod.namespace)
}

/// Pauses Redis for so long. Pauses of two seconds are queued on one connection: Redis takes up the next before it
/// serves anybody else, and drops the rest of them when the connection ends.
///
/// # Errors
/// The target (exit 6) where Redis refuses or cannot be reached.
pub async fn pause_redis(cluster: &Cluster, pod: &PodRef, port: u16, lasts: Duration) -> Result<Keeper> {
    let failed = || Error::target(format!("Redis in Pod {} cannot be paused", pod.name));
    let mut forwarder = pods(cluster, pod)
        .portforward(&pod.name, &[port])
        .await
        .map_err(|e| failed().because_of(explain(&e)))?;
    let mut stream = forwarder
        .take_stream(port)
        .ok_or_else(|| failed().because_of(format!("port {port} was not opened")))?;
    let password = login::of_redis(cluster, &pod.namespace, &pod.name).await?;
    let mut commands = password.as_deref().map(authenticate).unwrap_or_default();
    let mut left = lasts;
    while !left.is_zero() {
        let slice = left.min(SLICE);
        commands += &format!("CLIENT PAUSE {} ALL\r\n", slice.as_millis().max(1));
        left -= slice;
    }
    stream.write_all(commands.as_bytes()).await.map_err(|e| failed().because(e))?;
    let mut answers = BufReader::new(stream);
    let mut first = String::new();
    // Who is no Redis may answer without an end.
    let mut line = (&mut answers).take(LINE);
    let mut read = tokio::time::timeout(ANSWER, line.read_line(&mut first)).await;
    if password.is_some() && matches!(read, Ok(Ok(_))) && first.starts_with("+OK") {
        first.clear();
        let mut line = (&mut answers).take(LINE);
        read = tokio::time::timeout(ANSWER, line.read_line(&mut first)).await;
    }
    match read {
        Ok(Ok(_)) if first.starts_with("+OK") => {}
        Ok(Ok(0)) => {
            return Err(failed().because_of(format!("nobody answers on port {port}")));
        }
        Ok(Ok(_)) => {
            let error = failed().because_of(first.trim());
            return Err(match ["NOAUTH", "WRONGPASS"].iter().any(|word| first.contains(word)) {
                true => error.hint(
                    "its password is looked for where its container gets REDISCLI_AUTH or REDIS_PASSWORD from",
                ),
                false => error,
            });
        }
        Ok(Err(e)) => return Err(failed().because(e)),
        Err(_) => {
            let why = format!("no answer within {} s: it is paused already, perhaps", ANSWER.as_secs());
            return Err(failed().because_of(why));
        }
    }
    Ok(Keeper(tokio::spawn(async move {
        let _forwarder = forwarder;
        let _ = tokio::io::copy(&mut answers, &mut tokio::io::sink()).await;
    })))
}

/// The command that logs in. A password may have any character in it.
fn authenticate(password: &str) -> String {
    format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len())
}

/// Waits until Redis answers.
///
/// # Errors
/// The target (exit 6) where it does not within the bound.
pub async fn redis_answers(cluster: &Cluster, pod: &PodRef, port: u16) -> Result<()> {
    let started = Instant::now();
    loop {
        let asked = tokio::time::timeout(SLICE, ping(cluster, pod, port)).await;
        if matches!(asked, Ok(Some(()))) {
            return Ok(());
        }
        if started.elapsed() > RESUMED {
            return Err(Error::target(format!("Redis in Pod {} does not answer", pod.name))
                .because_of("another connection keeps it paused, or it is down")
                .hint("it goes on by itself when that connection ends"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn ping(cluster: &Cluster, pod: &PodRef, port: u16) -> Option<()> {
    let mut forwarder = pods(cluster, pod).portforward(&pod.name, &[port]).await.ok()?;
    let mut stream = forwarder.take_stream(port)?;
    stream.write_all(b"PING\r\n").await.ok()?;
    // Also a refusal is an answer.
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).await.ok().map(|_| ())
}

/// Takes memory in a container until this share of its limit is in use: by `sre` itself where the image has it, by
/// its shell where it has one.
///
/// # Errors
/// The target (exit 6) where the container has neither.
pub async fn take_memory(
    cluster: &Cluster,
    pod: &PodRef,
    container: &str,
    share: f64,
    limit: u64,
    lasts: Duration,
) -> Result<Keeper> {
    let seconds = lasts.as_secs_f64().ceil().max(1.0);
    let by_sre: Vec<String> = ["/bin/sre", "pressure", "memory", "--share"]
        .into_iter()
        .map(str::to_owned)
        .chain([share.to_string(), "--limit".into(), limit.to_string()])
        .chain(["--for".into(), format!("{seconds}s")])
        .collect();
    let by_shell = ["sh", "-c", &shell(share, limit, seconds)].map(str::to_owned).to_vec();
    let mut why = Vec::new();
    for command in [by_sre, by_shell] {
        match start(cluster, pod, container, command).await {
            Ok(keeper) => return Ok(keeper),
            Err(cause) => why.push(cause),
        }
    }
    Err(Error::target(format!("no memory can be taken in {}/{container}", pod.name))
        .because_of(why.join("\n"))
        .hint("its image needs `sre` or a shell with head, sleep and tail"))
}

/// A shell line that takes memory: `tail` keeps what has no line end. At the whole limit the container's first
/// process is made the one that the kernel kills first; otherwise it would kill this one and be satisfied.
fn shell(share: f64, limit: u64, seconds: f64) -> String {
    let first = match share >= 1.0 {
        true => format!("echo 1000 >/proc/1/oom_score_adj; bytes={}", limit.saturating_mul(2)),
        false => missing((limit as f64 * share) as u64, &IN_USE),
    };
    format!(
        "command -v head >/dev/null && command -v tail >/dev/null || exit 97; \
         {first}; echo started; {{ head -c $bytes /dev/zero; timeout {seconds} cat; }} | tail -c $bytes >/dev/null"
    )
}

/// The part that tells in `bytes` how many are missing to so many in use, of which the first file that there is tells:
/// taking all of them on top of what is in use would be the end of the container.
fn missing(wanted: u64, in_use: &[&str]) -> String {
    format!(
        "used=$(cat {} 2>/dev/null | head -n 1); bytes=$(({wanted} - ${{used:-0}})); [ $bytes -gt 0 ] || bytes=0",
        in_use.join(" ")
    )
}

/// Starts a command, which has to write a line when it runs; it ends with its standard input.
async fn start(
    cluster: &Cluster,
    pod: &PodRef,
    container: &str,
    command: Vec<String>,
) -> Result<Keeper, String> {
    let name = command[0].clone();
    let params = AttachParams::default().container(container).stdin(true).stdout(true).stderr(false);
    let mut process = pods(cluster, pod)
        .exec(&pod.name, command, &params)
        .await
        .map_err(|e| format!("{name}: {}", explain(&e)))?;
    let stdin = process.stdin();
    let Some(stdout) = process.stdout() else { return Err(format!("{name}: it has no output")) };
    let mut lines = Lines::new(BufReader::new(stdout));
    match tokio::time::timeout(ANSWER, lines.next_line()).await {
        Ok(Ok(Some(_))) => {}
        Ok(_) => {
            let status = match process.take_status() {
                Some(status) => status.await.and_then(|status| status.message),
                None => None,
            };
            return Err(format!("{name}: {}", status.unwrap_or_else(|| "it ended at once".into())));
        }
        Err(_) => return Err(format!("{name}: it did not start within {} s", ANSWER.as_secs())),
    }
    Ok(Keeper(tokio::spawn(async move {
        let _stdin = stdin;
        let _process = process;
        while let Ok(Some(_)) = lines.next_line().await {}
        // Held, not joined: the connection is what keeps it.
        std::future::pending::<()>().await;
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_limit_nothing_is_killed() {
        assert!(!shell(0.8, 1000, 5.0).contains("oom_score_adj"));
        assert!(shell(1.0, 1000, 5.0).contains("oom_score_adj"));
        assert!(shell(1.0, 1000, 5.0).contains("bytes=2000;"));
    }

    #[test]
    fn the_shell_takes_what_is_missing_to_the_share() {
        let folder = tempfile::tempdir().expect("a folder");
        let [gone, used] =
            ["gone", "used"].map(|name| folder.path().join(name).to_string_lossy().into_owned());
        std::fs::write(&used, "300\n").expect("written");
        let bytes = |wanted, files: &[&str]| {
            let line = format!("{}; echo $bytes", missing(wanted, files));
            let output = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        assert_eq!(bytes(800, &[&gone, &used]), "500");
        assert_eq!(bytes(200, &[&gone, &used]), "0");
        assert_eq!(bytes(800, &[&gone]), "800");
        assert!(shell(0.8, 1000, 5.0).contains(&missing(800, &IN_USE)));
    }
}
