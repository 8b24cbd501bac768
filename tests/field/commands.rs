//! `sre` as a user runs it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What a command ended with.
#[derive(Debug)]
pub struct Ran {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn ends(self, exit: i32, told: &str) -> Ran {
        assert_eq!(self.exit, exit, "{self:#?}");
        assert!((self.stdout.clone() + &self.stderr).contains(told), "`{told}` is not told: {self:#?}");
        self
    }
}

pub fn sre(folder: &Path, arguments: &[&str]) -> Ran {
    sre_with(folder, arguments, &[])
}

pub fn sre_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    ran(start(folder, arguments, variables))
}

/// In the background.
pub fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sre"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("SRE_TARGET")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sre starts")
}

/// To its end, with the most memory that it had, in bytes.
pub fn sre_measured(folder: &Path, arguments: &[&str]) -> (Ran, u64) {
    let child = start(folder, arguments, &[]);
    let status = format!("/proc/{}/status", child.id());
    let watching = std::thread::spawn(move || {
        let mut most = 0;
        // The file is empty of it once the process has ended.
        while let Some(now) = std::fs::read_to_string(&status).ok().as_deref().and_then(peak) {
            most = most.max(now);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        most
    });
    let ran = ran(child);
    (ran, watching.join().expect("it counts"))
}

fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

fn ran(child: Child) -> Ran {
    let output = child.wait_with_output().expect("sre ends");
    Ran {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
