//! Programs that send load, and what they cost.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Where `just bench-tools` puts what is missing.
pub fn tools() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().unwrap_or_default().join(".cache");
    cache.unwrap_or_else(home).join("sre-bench")
}

/// A program on PATH, or among the tools.
pub fn find(name: &str, places: &[&str]) -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .iter()
        .flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    on_path.or_else(|| places.iter().map(|place| tools().join(place)).find(|file| file.is_file()))
}

/// What came of a program that ended.
pub struct Ran {
    pub stdout: String,
    /// Processor time, in user and in system.
    pub processor: Duration,
}

/// Runs a program to its end. `look` is called about every 100 ms with its process id.
pub fn run(mut command: Command, mut look: impl FnMut(u32)) -> Result<Ran, String> {
    let libraries = tools().join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    command.env("LD_LIBRARY_PATH", libraries);
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let mut child = child.map_err(|e| format!("{name}: {e}"))?;
    let mut out = child.stdout.take().ok_or("no pipe")?;
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut out, &mut text).map(|_| text)
    });
    let pid = Pid::from_child(&child);
    // Ended and not yet waited for: its processor time can be read, to ten milliseconds.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(pid), options).map_err(|e| e.to_string())?.is_none() {
        look(child.id());
        std::thread::sleep(Duration::from_millis(100));
    }
    let processor = processor_time(child.id()).ok_or("no /proc/…/stat")?;
    let status = child.wait().map_err(|e| e.to_string())?;
    let stdout = reading.join().map_err(|_| "no output")?.map_err(|e| e.to_string())?;
    if status.success() { Ok(Ran { stdout, processor }) } else { Err(format!("{name}: {status}")) }
}

fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    // Linux tells them in hundredths of a second, whatever it counts in itself.
    Some(Duration::from_millis(ticks * 10))
}

/// Resident memory in MiB.
pub fn resident(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// The middle one of three, in general: of any odd number.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
