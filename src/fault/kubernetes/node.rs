//! Stopping and starting a node by commands that the user names.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::target::kubernetes::program::Program;

/// How long a command may take.
const BOUND: Duration = Duration::from_secs(300);

/// Runs a shell line, in which `{node}` is replaced, to its end. An interrupt or the end of its time sends it SIGINT, and
/// kills it 20 s later.
///
/// # Errors
/// The target (exit 6) where it fails, with what it wrote, or does not end in time.
pub async fn run(line: &str, node: &str, interrupt: &Interrupt) -> Result<()> {
    run_within(BOUND, line, node, interrupt).await
}

async fn run_within(bound: Duration, line: &str, node: &str, interrupt: &Interrupt) -> Result<()> {
    if !is_plain(node) {
        return Err(Error::target(format!("`{}` is no name of a node", node.escape_debug()))
            .because_of("it would become part of a command"));
    }
    let line = line.replace("{node}", node);
    // Its own interrupt, so that it is ended and waited for.
    let ending = interrupt.child();
    let program = Program::new("sh", ["-c", &line]);
    let running = program.run(&ending, |_| ());
    tokio::pin!(running);
    let in_time = tokio::select! {
        finished = &mut running => Some(finished),
        () = tokio::time::sleep(bound) => None,
    };
    let finished = match in_time {
        Some(finished) => finished,
        None => {
            ending.trigger(crate::exit::Exit::Interrupted);
            let _ = running.await;
            return Err(Error::target(format!("`{line}` did not end"))
                .because_of(format!("it had {} s, and was ended", bound.as_secs_f64()))
                .hint(format!("look at Node {node}, and run the command by hand; then `sre heal`")));
        }
    };
    interrupt.check()?;
    let finished = finished?;
    match finished.success() {
        true => Ok(()),
        false => Err(Error::target(format!("`{line}` failed")).because_of(finished.stderr.trim())),
    }
}

/// Whether a name means nothing to a shell: a node's is a DNS subdomain, and an API server may claim anything.
pub fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (1..=253).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[tokio::test]
    async fn a_name_becomes_no_command() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("mark");
        let name = format!("x;touch {}", mark.display());
        let error = run("true {node}", &name, &Interrupt::default()).await.expect_err("it is refused");
        assert!(error.to_string().contains("is no name of a node"), "{error}");
        assert!(!mark.exists());
        run("test {node} = worker-1.lab", "worker-1.lab", &Interrupt::default())
            .await
            .expect("it is replaced");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended() {
        let bound = Duration::from_millis(50);
        let line = "trap 'exit 1' INT; while :; do sleep 0.02; done";
        let error = run_within(bound, line, "worker", &Interrupt::default()).await.expect_err("it hangs");
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[tokio::test]
    async fn a_command_can_be_interrupted() {
        let interrupt = Interrupt::default();
        let line = "trap 'exit 1' INT; while :; do sleep 0.02; done";
        let trigger = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            interrupt.trigger(Exit::Interrupted);
        };
        let (ended, ()) = tokio::join!(run(line, "worker", &interrupt), trigger);
        assert_eq!(ended.expect_err("it was interrupted").exit(), Exit::Interrupted);
    }
}
