//! A real Prometheus whose past is chosen: series are written as OpenMetrics, promtool makes blocks of them.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use sre::interrupt::Interrupt;
use sre::terminal::Terminal;
use sre::tools::{Cache, Tool, require};

/// How often the series were scraped, in seconds.
const STEP: i64 = 15;
/// Scrapes before now: half an hour.
const BEFORE: i64 = 120;
/// Scrapes after now, so that a test that takes its time sees no end of them.
const AFTER: i64 = 40;

/// A series' value at a time, in seconds.
type Curve = Box<dyn Fn(i64) -> f64>;

/// Series and their samples.
#[derive(Default)]
pub struct History {
    series: Vec<(String, Curve)>,
}

impl History {
    /// A counter that rises by so much a second.
    pub fn rises(&mut self, series: &str, per_second: f64) {
        let step = STEP as f64;
        self.series.push((series.into(), Box::new(move |i| 1000.0 + i as f64 * step * per_second)));
    }

    /// A histogram's buckets that rise by so much a second.
    pub fn buckets(&mut self, name: &str, labels: &str, buckets: &[(&str, f64)]) {
        for (le, per_second) in buckets {
            self.rises(&format!(r#"{name}_bucket{{{labels},le="{le}"}}"#), *per_second);
        }
    }

    /// A value that does not change.
    pub fn stays(&mut self, series: &str, value: f64) {
        self.series.push((series.into(), Box::new(move |_| value)));
    }

    /// A value that is one, then the other.
    pub fn alternates(&mut self, series: &str, one: f64, other: f64) {
        self.series.push((series.into(), Box::new(move |i| if i % 2 == 0 { one } else { other })));
    }

    fn text(&self) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs() as i64;
        let mut text = String::new();
        for (series, value) in &self.series {
            for i in 0..BEFORE + AFTER {
                let time = now + (i - BEFORE) * STEP;
                writeln!(text, "{series} {} {time}", value(i)).expect("a line");
            }
        }
        text + "# EOF\n"
    }
}

/// A running Prometheus that scrapes nothing; it ends with its value.
pub struct Prometheus {
    address: SocketAddr,
    child: Child,
    _home: tempfile::TempDir,
}

impl Prometheus {
    /// One that holds this past.
    pub fn of(history: &History) -> Prometheus {
        let [prometheus, promtool] = programs();
        let home = tempfile::tempdir().expect("a folder");
        let (past, data) = (home.path().join("past.txt"), home.path().join("data"));
        std::fs::write(&past, history.text()).expect("written");
        let written = Command::new(promtool)
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&past, &data])
            .output()
            .expect("promtool starts");
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let config = home.path().join("prometheus.yml");
        std::fs::write(&config, "scrape_configs: []\n").expect("written");
        let address = free();
        let log = std::fs::File::create(home.path().join("log")).expect("a log");
        let child = Command::new(prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Prometheus starts");
        let prometheus = Prometheus { address, child, _home: home };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !prometheus.is_ready() {
            assert!(Instant::now() < deadline, "Prometheus is not ready within a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        prometheus
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn is_ready(&self) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = std::net::TcpStream::connect(self.address) else { return false };
        let asked = write!(stream, "GET /-/ready HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 OK")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that nothing listens on.
pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn programs() -> &'static [PathBuf; 2] {
    static PROGRAMS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let cache = Cache::of_user().expect("a cache");
        let (terminal, interrupt) = (Terminal::silent(true), Interrupt::default());
        [Tool::Prometheus, Tool::Promtool].map(|tool| {
            let found = runtime.block_on(require(&[tool], &[], &cache, &terminal, &interrupt));
            found.expect("it is found or got").remove(0).path
        })
    })
}
