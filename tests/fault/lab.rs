//! A lab of three replicas of the demo service, without Prometheus: faults need none.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use indexmap::IndexMap;
use serde_json::{Value, json};
use sre::error::Result;
use sre::fault::{self, Journal};
use sre::interrupt::Interrupt;
use sre::run::{Event, EventKind, Events, Reporter};
use sre::target::local::ports::{self, Ports};
use sre::target::local::process::{self, Spec, State};
use sre::target::local::tail::last_lines;
use sre::target::{Endpoints, Folder, LAB_SCHEMA, Lab, Process, Replica, TargetKind};
use sre::terminal::Terminal;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::support::wait::until;

pub const REPLICAS: usize = 3;

/// Three replicas in a folder of their own; ended when it is dropped.
pub struct TestLab {
    place: tempfile::TempDir,
    client: reqwest::Client,
}

/// A timeline that plays in a task.
pub struct Playing {
    pub events: UnboundedReceiver<EventKind>,
    pub interrupt: Interrupt,
    pub task: JoinHandle<Result<()>>,
}

impl TestLab {
    pub async fn start() -> TestLab {
        let place = tempfile::tempdir().unwrap();
        let lab = TestLab { place, client: reqwest::Client::builder().no_proxy().build().unwrap() };
        let folder = lab.folder();
        folder.prepare().unwrap();
        let names: Vec<String> =
            (0..REPLICAS).flat_map(|number| [name(number), format!("{number}-admin")]).collect();
        let ports = ports_of_its_own(lab.path(), &names);
        let mut recorded = Lab {
            schema: LAB_SCHEMA.into(),
            stack: "users-api".into(),
            target: TargetKind::Local,
            parameters: IndexMap::new(),
            complete: true,
            endpoints: Endpoints::default(),
            cluster: None,
            processes: Vec::new(),
            versions: IndexMap::new(),
        };
        for number in 0..REPLICAS {
            let (port, admin) = (ports[&name(number)], ports[&format!("{number}-admin")]);
            let arguments =
                ["app", "--listen", &format!("127.0.0.1:{port}"), "--admin", &format!("127.0.0.1:{admin}")];
            let spec = Spec {
                name: name(number),
                program: env!("CARGO_BIN_EXE_sre").into(),
                arguments: arguments.map(String::from).into(),
                environment: IndexMap::new(),
                directory: None,
            };
            recorded.record(process::start(&spec, &folder).unwrap());
            recorded.endpoints.replicas.push(Replica {
                name: name(number),
                url: format!("http://127.0.0.1:{port}").parse().unwrap(),
                instance: Some(format!("127.0.0.1:{port}")),
                admin: Some(format!("http://127.0.0.1:{admin}").parse().unwrap()),
            });
        }
        recorded.save(folder.root()).unwrap();
        for number in 0..REPLICAS {
            until("the replica answers", async || lab.switches(number).await).await;
            lab.assert_runs(number);
        }
        lab
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn folder(&self) -> Folder {
        Folder::at(&self.path().join(".sre"))
    }

    pub fn recorded(&self) -> Lab {
        Lab::load(self.folder().root()).unwrap().unwrap()
    }

    /// The recorded process of a replica.
    pub fn process(&self, number: usize) -> Process {
        self.recorded().process(&name(number)).unwrap().clone()
    }

    pub fn state(&self, number: usize) -> State {
        process::state(&self.process(number))
    }

    /// What is switched on in a replica, without what is off; `None` if it does not answer soon.
    pub async fn switches(&self, number: usize) -> Option<Value> {
        let admin = self.recorded().endpoints.replicas[number].admin.clone().unwrap();
        let request =
            self.client.get(admin.join("faults").unwrap()).timeout(std::time::Duration::from_secs(1));
        let mut faults: serde_json::Map<String, Value> = request.send().await.ok()?.json().await.ok()?;
        faults.retain(|key, value| key != "for_ms" && *value != json!(false) && value.as_f64() != Some(0.0));
        Some(faults.into())
    }

    /// Entries in the journal.
    pub fn entries(&self) -> Vec<Value> {
        let Ok(files) = std::fs::read_dir(self.folder().root().join("journal")) else { return Vec::new() };
        files
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            // One may go between the listing and the reading.
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .map(|text| serde_json::from_str(&text).unwrap())
            // What `sre heal --force` leaves for the owner.
            .filter(|entry: &Value| entry["state"] != "undone")
            .collect()
    }

    /// Plays these steps from now on; Prometheus' time is what `now` tells.
    pub fn play(&self, steps: &str, now: fn() -> Option<f64>) -> Playing {
        let steps: Vec<sre::scenario::FaultStep> = serde_saphyr::from_str(steps).unwrap();
        let timeline = fault::plan(&steps, &self.recorded()).unwrap();
        let journal = Journal::new(&self.folder(), &Terminal::silent(true));
        let (sender, events) = unbounded_channel();
        let (interrupt, start) = (Interrupt::default(), Instant::now());
        let interrupted = interrupt.clone();
        let task = tokio::spawn(async move {
            let reported = Events::new(vec![Box::new(Forward(sender))]);
            let clock = fault::Clock::new(async || now(), None);
            timeline.run(&journal, start, &reported, &clock, &interrupted).await
        });
        Playing { events, interrupt, task }
    }

    /// A command of `sre`, ready to be run in the lab's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sre"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env_remove("SRE_TARGET").env_remove("SRE_YES");
        command
    }

    /// Runs `sre` to its end: its exit code, stdout and stderr.
    pub fn sre(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().unwrap_or(-1), text(stdout), text(stderr))
    }

    /// A replica runs; where it does not, what it said is told.
    fn assert_runs(&self, number: usize) {
        let process = self.process(number);
        let state = process::state(&process);
        assert_eq!(state, State::Running, "{process:?} said last: {:?}", last_lines(&process.log, 5));
    }

    /// Everything is as it was: no entry, every replica runs and answers, nothing is switched on, and
    /// there is one process a replica.
    pub async fn assert_healed(&self) {
        assert_eq!(self.entries(), Vec::<Value>::new());
        for number in 0..REPLICAS {
            self.assert_runs(number);
            assert_eq!(self.switches(number).await, Some(json!({})), "{}", name(number));
        }
        let mut names: Vec<String> =
            process::marked(&self.folder()).into_iter().map(|process| process.name).collect();
        names.sort();
        assert_eq!(names, (0..REPLICAS).map(name).collect::<Vec<_>>());
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        for process in process::marked(&self.folder()) {
            let _ = process::kill(&process);
        }
    }
}

impl Playing {
    /// The next event, waited for 60 s at the most.
    pub async fn next(&mut self) -> EventKind {
        let bound = std::time::Duration::from_secs(60);
        tokio::time::timeout(bound, self.events.recv()).await.expect("an event in time").expect("an event")
    }

    /// Waits for the next event, which must be the injection of this fault.
    pub async fn injected(&mut self, description: &str) {
        match self.next().await {
            EventKind::FaultInjected(fault) => assert_eq!(fault.description, description),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the next event, which must be the healing of this fault.
    pub async fn healed(&mut self, description: &str) {
        match self.next().await {
            EventKind::FaultHealed(fault) => assert_eq!(fault.description, description),
            other => panic!("{other:?}"),
        }
    }
}

/// Ports that no other lab of these tests was given: between the choice of a free one and its use, another lab that is
/// started at the same time may choose it, too.
fn ports_of_its_own(place: &Path, names: &[String]) -> Ports {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    let ports = (0..100)
        .map(|attempt| format!("{} {attempt}", place.display()))
        .map(|place| ports::allocate(&place, names, &Ports::new(), |_| false).unwrap())
        .find(|ports| ports.values().all(|port| !given.contains(port)))
        .expect("free ports that no other lab has");
    given.extend(ports.values());
    ports
}

/// Hands each event on.
struct Forward(UnboundedSender<EventKind>);

impl Reporter for Forward {
    fn event(&mut self, event: &Event) -> Result<()> {
        let _ = self.0.send(event.kind.clone());
        Ok(())
    }
}

pub fn name(number: usize) -> String {
    format!("users-api-{number}")
}
