//! The catalogue of faults: what each does, what it touches, what monitoring must show.

use serde::Serialize;

use crate::scenario::FaultKind;

/// What there is to know of one kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Its key in a scenario: `error-rate`.
    pub name: &'static str,
    /// Its value in a scenario, by example; `None` for a fault without one.
    pub example: Option<&'static str>,
    /// What it does.
    pub does: &'static str,
    /// What it touches, and how it is undone.
    pub touches: &'static str,
    /// What monitoring must show.
    pub shows: &'static str,
}

/// Every kind of fault, in the order of the documentation.
pub fn describe() -> &'static [Description] {
    &CATALOGUE
}

const CATALOGUE: [Description; 6] = [
    Description {
        name: "latency",
        example: Some("2s"),
        does: "Every answer comes this much later.",
        touches: "A switch of the demo service, by its admin port. The process goes on.",
        shows: "The latency histogram moves up; HighLatency fires once p95 is over its limit. Errors stay as they are.",
    },
    Description {
        name: "error-rate",
        example: Some("20%"),
        does: "This share of the answers is an error, status 500.",
        touches: "A switch of the demo service, by its admin port. The process goes on.",
        shows: "Requests with status 500 and `app_error_count_total{error_type=\"injected_error\"}` rise; HighErrorRate fires.",
    },
    Description {
        name: "exceptions",
        example: Some("20%"),
        does: "This share of the requests ends in an exception, status 500.",
        touches: "A switch of the demo service, by its admin port. The process goes on.",
        shows: "`app_exceptions_total` rises, and requests with status 500; HighErrorRate fires.",
    },
    Description {
        name: "unready",
        example: None,
        does: "The readiness probe answers 503; requests are answered as ever.",
        touches: "A switch of the demo service, by its admin port. The process goes on.",
        shows: "Nothing in the counters: whoever heeds readiness sends no more requests there.",
    },
    Description {
        name: "kill",
        example: None,
        does: "The process is killed (SIGKILL), and started again at the end as it was.",
        touches: "A process that `sre up` started. Its counters begin at 0 again, and what was counted since the last scrape is lost.",
        shows: "`up` is 0 for the instance; InstanceDown fires. Connections are refused.",
    },
    Description {
        name: "pause",
        example: None,
        does: "The process is stopped (SIGSTOP), and continued at the end.",
        touches: "A process that `sre up` started. It keeps its memory, its counters and its connections.",
        shows: "Scrapes time out and `up` is 0 for the instance; ServiceUnresponsive or InstanceDown fires. Requests hang and are answered late, or run into their time-out.",
    },
];

impl FaultKind {
    /// Its key in a scenario.
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Latency(_) => "latency",
            FaultKind::ErrorRate(_) => "error-rate",
            FaultKind::Exceptions(_) => "exceptions",
            FaultKind::Unready => "unready",
            FaultKind::Kill => "kill",
            FaultKind::Pause => "pause",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault as a scenario has it.
    fn parsed(description: &Description) -> FaultKind {
        let yaml = match description.example {
            Some(example) => format!("{}: {example}", description.name),
            None => description.name.to_owned(),
        };
        serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
    }

    #[test]
    fn every_fault_of_the_catalogue_can_be_written_in_a_scenario() {
        for description in describe() {
            let kind = parsed(description);
            assert_eq!(kind.name(), description.name);
            let words = description.example.map_or(String::new(), |example| format!(" {example}"));
            assert_eq!(kind.to_string(), format!("{}{words}", description.name));
        }
    }

    #[test]
    fn every_fault_of_a_scenario_is_in_the_catalogue() {
        let schema = serde_json::to_value(schemars::schema_for!(FaultKind)).expect("a schema").to_string();
        let variants = schema.matches("\"const\":").count() + schema.matches("\"required\":[").count();
        assert_eq!(variants, describe().len(), "{schema}");
    }

    #[test]
    fn the_documentation_tells_what_the_catalogue_tells() {
        let documentation = include_str!("../../docs/faults.md");
        for description in describe() {
            for part in [description.does, description.touches, description.shows] {
                assert!(documentation.contains(part), "docs/faults.md, {}: {part}", description.name);
            }
        }
    }
}
