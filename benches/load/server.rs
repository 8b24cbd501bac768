//! The server that answers everybody: nginx, which counts what it answered, and can be frozen.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::find;

/// An nginx of its own, until it is dropped.
pub struct Server {
    pub url: String,
    pub version: String,
    nginx: Child,
}

impl Server {
    pub fn start(place: &Path) -> Result<Server, String> {
        let program = find("nginx", &["usr/sbin/nginx"]).ok_or("nginx is not there (just bench-tools)")?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|e| e.to_string())?
            .port();
        let configuration = place.join("nginx.conf");
        std::fs::write(&configuration, config(port)).map_err(|e| e.to_string())?;
        let nginx = Command::new(&program)
            .args(["-p", &place.to_string_lossy(), "-c", &configuration.to_string_lossy()])
            .args(["-e", "stderr"])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let server = Server { url: format!("http://127.0.0.1:{port}/"), version: version(&program), nginx };
        let deadline = Instant::now() + Duration::from_secs(5);
        while server.answered().is_none() {
            if Instant::now() > deadline {
                return Err("nginx does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// How many requests it has answered since it was started, this one not among them.
    pub fn answered(&self) -> Option<u64> {
        use std::io::{Read as _, Write as _};
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let line = text.lines().skip_while(|line| !line.starts_with("server accepts")).nth(1)?;
        line.split_whitespace().last()?.parse::<u64>().ok()?.checked_sub(1)
    }

    /// How many requests it answered while something went on; its own questions are not counted.
    pub fn counted<T>(&self, what: impl FnOnce() -> T) -> (u64, T) {
        let before = self.answered().expect("nginx answers");
        let done = what();
        (self.answered().expect("nginx answers") - before - 1, done)
    }

    /// Stops every process that answers, for a time.
    pub fn freeze(&self, time: Duration) {
        let workers = self.workers();
        assert!(!workers.is_empty(), "nginx has workers");
        workers.iter().for_each(|pid| kill_process(*pid, Signal::STOP).expect("it can be stopped"));
        std::thread::sleep(time);
        workers.iter().for_each(|pid| kill_process(*pid, Signal::CONT).expect("it can go on"));
    }

    fn workers(&self) -> Vec<Pid> {
        let pid = self.nginx.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let numbers = children.unwrap_or_default();
        numbers.split_whitespace().filter_map(|number| Pid::from_raw(number.parse().ok()?)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.nginx.id() as i32) {
            // Its workers end with it.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.nginx.wait();
    }
}

fn config(port: u16) -> String {
    format!(
        "daemon off; pid nginx.pid; worker_processes auto;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 \"ok\"; }}
    location = /status {{ stub_status; }}
  }}
}}
"
    )
}

fn version(program: &PathBuf) -> String {
    let told = Command::new(program).arg("-v").output();
    let text = told.map(|told| String::from_utf8_lossy(&told.stderr).into_owned()).unwrap_or_default();
    text.rsplit('/').next().unwrap_or_default().trim().to_owned()
}
