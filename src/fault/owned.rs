//! Whose objects faults are on: what others brought is disturbed only once whoever runs the scenario has agreed.

use super::kubernetes::Aimed;
use super::{On, Planned, Timeline};
use crate::scenario::Duration;
use crate::target::Lab;

/// So many things that a fault takes are told one by one.
const TOLD: usize = 5;

impl Timeline {
    /// What to ask before faults are injected on what the lab did not bring itself; `None` where there are none.
    pub fn question(&self, lab: &Lab) -> Option<String> {
        let place = lab.cluster.as_ref()?;
        let foreign = |fault: &Planned| match &fault.on {
            On::Object(aimed) if !aimed.is_of(place) => Some(told(fault, aimed)),
            On::Object(_) | On::Replicas(_) => None,
        };
        let foreign: Vec<String> = self.faults.iter().filter_map(foreign).collect();
        (!foreign.is_empty()).then(|| {
            format!("faults are on what `sre up` did not bring here:\n{}", foreign.concat().trim_end())
        })
    }
}

fn told(fault: &Planned, aimed: &Aimed) -> String {
    let [at, lasts] = [fault.at, fault.until.saturating_sub(fault.at)].map(Duration::from);
    let mut lines = format!("  {}, {at} after the load's start, for {lasts}\n", fault.description());
    let blast = aimed.blast();
    for taken in blast.takes.iter().take(TOLD) {
        lines += &format!("    takes {taken}\n");
    }
    if blast.takes.len() > TOLD {
        lines += &format!("    takes {} more\n", blast.takes.len() - TOLD);
    }
    if let Some(outage) = &blast.outage {
        lines += &format!("    outage: {outage}\n");
    }
    lines
}
