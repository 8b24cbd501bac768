//! From a scenario's steps to a timeline: what is injected and undone when, on which replicas. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::kubernetes::{Aimed, Scene};
use super::sign::Subject;
use super::{Journal, Switches};
use crate::error::{Error, Result};
use crate::scenario::{FaultKind, FaultStep};
use crate::target::{Lab, Replica, TargetKind};

/// One fault of a timeline.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its name in the journal.
    pub id: String,
    /// Its number in the scenario, from 1.
    pub number: usize,
    /// What it does.
    pub kind: FaultKind,
    /// When it is injected, after the load's start.
    pub at: Duration,
    /// When it is undone, after the load's start.
    pub until: Duration,
    /// What it touches.
    pub on: On,
}

/// What a fault touches.
#[derive(Debug, Clone)]
pub enum On {
    /// Replicas of the service, at least one.
    Replicas(Vec<Replica>),
    /// An object of a cluster.
    Object(Box<Aimed>),
}

/// The faults of a scenario, in the order of its file.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// The faults.
    pub faults: Vec<Planned>,
}

/// What happens at a moment of a timeline, by the number of the fault. At the same moment, what ends is
/// undone before what begins is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    Heal(usize),
    Inject(usize),
}

/// Makes a timeline of a scenario's steps on this lab. An error (exit 2), naming the step, if one of
/// them does nothing, touches a replica that is not there or that it cannot reach, or if two of them
/// exclude each other.
pub fn plan(steps: &[FaultStep], lab: &Lab) -> Result<Timeline> {
    let mut faults: Vec<Planned> = Vec::new();
    let run = run_id();
    for (number, step) in (1..).zip(steps) {
        let refuse = |why: String| {
            Error::usage(format!("fault {number} ({}) cannot be injected", step.fault)).because_of(why)
        };
        does_something(step).map_err(refuse)?;
        if step.on.is_some() || step.fault.is_on_objects() {
            let hint = "on a cluster, or in a lab there: sre up --target cluster";
            return Err(refuse(format!("the target {} has no objects", lab.target)).hint(hint));
        }
        let replicas = replicas(step, lab).map_err(refuse)?;
        for replica in &replicas {
            reachable(&step.fault, replica, lab).map_err(|(why, hint)| refuse(why).hint(hint))?;
        }
        let on = On::Replicas(replicas);
        let planned = Planned::new(step, number, format!("{run}-{number}"), on);
        for (earlier_number, earlier) in (1..).zip(&faults) {
            if let Some(replica) = earlier.excludes(&planned) {
                let why =
                    format!("fault {earlier_number} ({}) is on {replica} at the same time", earlier.kind);
                return Err(refuse(why).hint("a process that is killed or paused takes no other fault: let one end before the other begins"));
            }
        }
        faults.push(planned);
    }
    Ok(Timeline { faults })
}

/// Makes a timeline of a scenario's steps on what there is on a cluster.
///
/// # Errors
/// Usage (exit 2) as for [`plan`], where a step would take the last replica unasked, or where two are on one object
/// at the same time; the target (exit 6) where the cluster does not tell.
pub async fn aim(steps: &[FaultStep], scene: &Scene) -> Result<Timeline> {
    let mut faults: Vec<Planned> = Vec::new();
    let run = run_id();
    for (number, step) in (1..).zip(steps) {
        let what = format!("fault {number} ({}) cannot be injected", step.fault);
        does_something(step).map_err(|why| Error::usage(&what).because_of(why))?;
        let id = format!("{run}-{number}");
        let aimed = Aimed::new(step, scene, id.clone()).await.map_err(|error| error.within(&what))?;
        let planned = Planned::new(step, number, id, On::Object(Box::new(aimed)));
        let clash = (1..).zip(&faults).find_map(|(other, earlier)| Some((other, earlier.is_with(&planned)?)));
        if let Some((other, object)) = clash {
            return Err(Error::usage(what)
                .because_of(format!("fault {other} is on {object} at the same time"))
                .hint("an object bears one fault at a time: let one end before the other begins"));
        }
        faults.push(planned);
    }
    Ok(Timeline { faults })
}

/// What the names of a timeline's faults begin with; no two machines ever make the same.
fn run_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let now = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    format!("{now}-{}-{}", std::process::id(), &random[..4])
}

/// The longest time that a fault lasts.
pub const LONGEST: Duration = Duration::from_secs(168 * 3600);

/// The longest time that the demo service keeps a switch on, less the time by which it is later than its owner.
const OF_SWITCHES: Duration = Duration::from_secs(24 * 3600 - 60);

fn does_something(step: &FaultStep) -> Result<(), String> {
    let nothing = match &step.fault {
        FaultKind::Latency(latency) => latency.get() < Duration::from_millis(1),
        FaultKind::ErrorRate(rate)
        | FaultKind::Exceptions(rate)
        | FaultKind::CpuPressure(rate)
        | FaultKind::MemoryPressure(rate) => rate.get() == 0.0,
        _ => step.count == Some(0),
    };
    if nothing {
        return Err("it does nothing".into());
    }
    if step.lasts.get().is_zero() {
        return Err("it ends when it begins: `for` is 0".into());
    }
    if step.lasts.get() > LONGEST {
        return Err(format!("it lasts longer than {}", crate::scenario::Duration::from(LONGEST)));
    }
    if Switches::of(&step.fault).is_some() && step.lasts.get() > OF_SWITCHES {
        let most = crate::scenario::Duration::from(OF_SWITCHES);
        return Err(format!("the demo service switches it off by itself after {most}"));
    }
    Ok(())
}

fn replicas(step: &FaultStep, lab: &Lab) -> Result<Vec<Replica>, String> {
    let there = &lab.endpoints.replicas;
    let mut numbers = match &step.replicas {
        Some(numbers) => numbers.clone(),
        None => (0..there.len()).collect(),
    };
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return Err("it names no replica".into());
    }
    let replica = |number: usize| {
        there.get(number).cloned().ok_or_else(|| match there.len() {
            1 => format!("there is no replica {number}; the only one is 0"),
            all => format!("there is no replica {number}; they are 0 to {}", all - 1),
        })
    };
    numbers.into_iter().map(replica).collect()
}

fn reachable(kind: &FaultKind, replica: &Replica, lab: &Lab) -> Result<(), (String, &'static str)> {
    if !kind.is_process() {
        return match replica.admin {
            Some(_) => Ok(()),
            None => Err((
                format!("{} has no admin port", replica.name),
                "only the demo service (`sre app --admin …`) has fault switches",
            )),
        };
    }
    match lab.process(&replica.name) {
        Some(_) if lab.target == TargetKind::Local => Ok(()),
        _ => Err((
            format!("sre did not start {} on the target {}", replica.name, lab.target),
            "only processes that `sre up --target local` started are killed or paused",
        )),
    }
}

impl FaultKind {
    /// Whether it touches the process, not a switch of the service.
    pub(super) fn is_process(&self) -> bool {
        matches!(self, FaultKind::Kill | FaultKind::Pause)
    }

    /// Whether it is on objects of a cluster only.
    pub fn is_on_objects(&self) -> bool {
        let known = super::describe().iter().find(|known| known.name == self.name());
        known.is_some_and(|known| *known.on == [super::Place::Cluster])
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        match self {
            FaultKind::Latency(latency) => write!(f, " {latency}"),
            FaultKind::ErrorRate(rate)
            | FaultKind::Exceptions(rate)
            | FaultKind::CpuPressure(rate)
            | FaultKind::MemoryPressure(rate) => write!(f, " {rate}"),
            _ => Ok(()),
        }
    }
}

impl Planned {
    fn new(step: &FaultStep, number: usize, id: String, on: On) -> Planned {
        let at = step.at.get();
        Planned { id, number, kind: step.fault.clone(), at, until: at.saturating_add(step.lasts.get()), on }
    }

    /// What it does, in words: `latency 2s on users-api-0, users-api-1`, `drain on Node worker`.
    pub fn description(&self) -> String {
        match &self.on {
            On::Replicas(replicas) => {
                let names: Vec<&str> = replicas.iter().map(|replica| replica.name.as_str()).collect();
                format!("{} on {}", self.kind, names.join(", "))
            }
            On::Object(aimed) => format!("{} on {}", self.kind, aimed.on()),
        }
    }

    /// The `instance` labels of the replicas, where they are known.
    pub fn instances(&self) -> Vec<String> {
        self.replicas().iter().filter_map(|replica| replica.instance.clone()).collect()
    }

    /// Whether monitoring shows it in a way that is known: on replicas not everything of a cluster is.
    pub fn has_sign(&self) -> bool {
        let Some(sign) = self.kind.sign() else { return false };
        match &self.on {
            On::Object(_) => true,
            On::Replicas(_) => {
                let subject = Subject { kind: &self.kind, instances: &self.instances(), object: None };
                sign.filled(&subject).is_some()
            }
        }
    }

    fn replicas(&self) -> &[Replica] {
        match &self.on {
            On::Replicas(replicas) => replicas,
            On::Object(_) => &[],
        }
    }

    /// Whether both are there at some moment.
    fn is_together(&self, other: &Planned) -> bool {
        self.at < other.until && other.at < self.until
    }

    /// A replica on which both cannot be at the same time.
    fn excludes(&self, other: &Planned) -> Option<&str> {
        let exclusive = self.kind.is_process() || other.kind.is_process();
        let shared = |replica: &&Replica| other.replicas().iter().any(|known| known.name == replica.name);
        self.replicas()
            .iter()
            .find(shared)
            .filter(|_| self.is_together(other) && exclusive)
            .map(|replica| replica.name.as_str())
    }

    /// The object that both are on at the same time.
    fn is_with(&self, other: &Planned) -> Option<String> {
        match (&self.on, &other.on) {
            (On::Object(one), On::Object(two)) if one.on() == two.on() && self.is_together(other) => {
                Some(one.on().to_string())
            }
            _ => None,
        }
    }
}

impl Timeline {
    /// Those that are on objects of a cluster.
    pub fn aimed(&self) -> impl Iterator<Item = &Aimed> {
        self.faults.iter().filter_map(|fault| match &fault.on {
            On::Object(aimed) => Some(&**aimed),
            On::Replicas(_) => None,
        })
    }

    /// Makes the guards of all faults, at the same time, and finds out what has to be known before; the timeline
    /// begins within `lead`. What was made has to be [`dismissed`](Timeline::dismiss), also after an error.
    ///
    /// # Errors
    /// As for [`Aimed::prepare`].
    pub async fn prepare(&mut self, lead: Duration) -> Result<()> {
        let each = self.faults.iter_mut().filter_map(|fault| match &mut fault.on {
            On::Object(aimed) => Some((lead + fault.at, aimed)),
            On::Replicas(_) => None,
        });
        let all = futures::future::join_all(each.map(|(starts, aimed)| aimed.prepare(starts))).await;
        all.into_iter().collect()
    }

    /// Removes the guards that are there still, but for those of faults that stand in the journal: what could not be
    /// undone here is left to them. One that cannot be removed ends by itself.
    pub async fn dismiss(&self, journal: &Journal) {
        let over = self.aimed().filter(|aimed| !journal.contains(aimed.id()));
        futures::future::join_all(over.map(Aimed::dismiss)).await;
    }

    /// Everything that happens, in order, with its time after the load's start.
    pub(super) fn moments(&self) -> Vec<(Duration, Moment)> {
        let both = |(number, fault): (usize, &Planned)| {
            [(fault.at, Moment::Inject(number)), (fault.until, Moment::Heal(number))]
        };
        let mut moments: Vec<_> = self.faults.iter().enumerate().flat_map(both).collect();
        moments.sort();
        moments
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::exit::Exit;
    use crate::target::{Endpoints, LAB_SCHEMA, Process};

    /// A lab of this many replicas of the demo service.
    fn lab(target: TargetKind, replicas: usize) -> Lab {
        let name = |number| format!("users-api-{number}");
        let url = |port: usize| format!("http://127.0.0.1:{port}").parse().expect("a URL");
        let replica = |number| Replica {
            name: name(number),
            url: url(41000 + number),
            instance: Some(format!("127.0.0.1:{}", 41000 + number)),
            admin: Some(url(42000 + number)),
        };
        let process = |number| Process {
            name: name(number),
            pid: 1,
            started: 1,
            program: "sre".into(),
            arguments: Vec::new(),
            environment: IndexMap::new(),
            directory: None,
            log: "log".into(),
        };
        Lab {
            schema: LAB_SCHEMA.into(),
            stack: "users-api".into(),
            target,
            parameters: IndexMap::new(),
            complete: true,
            endpoints: Endpoints { replicas: (0..replicas).map(replica).collect(), ..Endpoints::default() },
            cluster: None,
            processes: (0..replicas).map(process).collect(),
            versions: IndexMap::new(),
        }
    }

    fn steps(yaml: &str) -> Vec<FaultStep> {
        serde_saphyr::from_str(yaml).expect("steps")
    }

    fn refused(yaml: &str, lab: &Lab) -> String {
        let error = plan(&steps(yaml), lab).expect_err("it is refused");
        assert_eq!(error.exit(), Exit::Usage);
        error.to_string()
    }

    #[test]
    fn steps_become_moments_and_what_ends_comes_first() {
        let steps = steps(
            "- {fault: {latency: 2s}, at: 10s, for: 10s, replicas: [2, 0, 2]}\n\
             - {fault: kill, at: 20s, for: 5s, replicas: [0]}\n\
             - {fault: unready, at: 0s, for: 30s, replicas: [1]}",
        );
        let timeline = plan(&steps, &lab(TargetKind::Local, 3)).expect("a timeline");
        assert_eq!(timeline.faults[0].description(), "latency 2s on users-api-0, users-api-2");
        assert_eq!(timeline.faults[0].instances(), ["127.0.0.1:41000", "127.0.0.1:41002"]);
        use Moment::{Heal, Inject};
        let seconds: Vec<_> =
            timeline.moments().into_iter().map(|(at, moment)| (at.as_secs(), moment)).collect();
        assert_eq!(
            seconds,
            [(0, Inject(2)), (10, Inject(0)), (20, Heal(0)), (20, Inject(1)), (25, Heal(1)), (30, Heal(2))]
        );
    }

    #[test]
    fn without_numbers_a_fault_is_on_all_replicas() {
        let timeline = plan(&steps("- {fault: pause, at: 1s, for: 1s}"), &lab(TargetKind::Local, 2));
        assert_eq!(
            timeline.expect("a timeline").faults[0].description(),
            "pause on users-api-0, users-api-1"
        );
    }

    #[test]
    fn switches_overlap_and_processes_do_not() {
        let lab = lab(TargetKind::Local, 3);
        let both =
            "- {fault: {latency: 2s}, at: 0s, for: 20s}\n- {fault: {error-rate: 20%}, at: 10s, for: 20s}";
        assert!(plan(&steps(both), &lab).is_ok());
        let apart = "- {fault: kill, at: 0s, for: 20s, replicas: [0]}\n- {fault: pause, at: 0s, for: 20s, replicas: [1]}";
        assert!(plan(&steps(apart), &lab).is_ok());
        let clash =
            "- {fault: {latency: 2s}, at: 0s, for: 20s}\n- {fault: kill, at: 10s, for: 5s, replicas: [1]}";
        assert_eq!(
            refused(clash, &lab),
            "fault 2 (kill) cannot be injected\n  because: fault 1 (latency 2s) is on users-api-1 at the same time\n  → a process that is killed or paused takes no other fault: let one end before the other begins"
        );
    }

    #[test]
    fn a_replica_that_is_not_there_is_refused() {
        let lab = lab(TargetKind::Local, 3);
        let why = refused("- {fault: kill, at: 1s, for: 1s, replicas: [3]}", &lab);
        assert!(why.contains("there is no replica 3; they are 0 to 2"), "{why}");
        assert!(refused("- {fault: kill, at: 1s, for: 1s, replicas: []}", &lab).contains("no replica"));
    }

    #[test]
    fn a_fault_that_does_nothing_is_refused() {
        let lab = lab(TargetKind::Local, 1);
        for fault in ["{latency: 0s}", "{error-rate: 0%}", "{exceptions: 0}"] {
            let why = refused(&format!("- {{fault: {fault}, at: 1s, for: 1s}}"), &lab);
            assert!(why.contains("it does nothing"), "{why}");
        }
        assert!(refused("- {fault: kill, at: 1s, for: 0s}", &lab).contains("`for` is 0"));
    }

    #[test]
    fn on_a_service_of_ones_own_nothing_can_be_injected() {
        let mut lab = lab(TargetKind::External, 1);
        let why = refused("- {fault: kill, at: 1s, for: 1s}", &lab);
        assert!(why.contains("sre did not start users-api-0 on the target external"), "{why}");
        lab.endpoints.replicas[0].admin = None;
        let why = refused("- {fault: unready, at: 1s, for: 1s}", &lab);
        assert!(why.contains("users-api-0 has no admin port"), "{why}");
    }
}
