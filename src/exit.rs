//! The exit codes that scripts rely on, named here and nowhere else.

use crate::check::Verdict;

/// Why the process ended. The number is the process's exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Everything asked for was checked and passed.
    Pass,
    /// A check failed: the system or its monitoring is wrong.
    CheckFailed,
    /// Arguments, a scenario file or a stack file are wrong.
    Usage,
    /// Something that had to be seen could not be; or nothing was checked.
    NoData,
    /// The generator could not send what was asked.
    Overloaded,
    /// A prerequisite is missing, or consent was not given.
    Prerequisite,
    /// The target could not be brought up, reached or taken down.
    Target,
    /// Its terminal was closed (SIGHUP), after cleaning up.
    HungUp,
    /// Interrupted by Ctrl-C (SIGINT), after cleaning up.
    Interrupted,
    /// Asked to quit by Ctrl-\ (SIGQUIT), after cleaning up.
    Quit,
    /// Asked to end (SIGTERM), after cleaning up.
    Terminated,
}

impl Exit {
    /// Every code, in the order of the documentation's table.
    pub const ALL: [Exit; 11] = [
        Exit::Pass,
        Exit::CheckFailed,
        Exit::Usage,
        Exit::NoData,
        Exit::Overloaded,
        Exit::Prerequisite,
        Exit::Target,
        Exit::HungUp,
        Exit::Interrupted,
        Exit::Quit,
        Exit::Terminated,
    ];

    /// The process's exit status.
    pub fn code(self) -> u8 {
        match self {
            Exit::Pass => 0,
            Exit::CheckFailed => 1,
            Exit::Usage => 2,
            Exit::NoData => 3,
            Exit::Overloaded => 4,
            Exit::Prerequisite => 5,
            Exit::Target => 6,
            Exit::HungUp => 129,
            Exit::Interrupted => 130,
            Exit::Quit => 131,
            Exit::Terminated => 143,
        }
    }

    /// The cause with this exit status; `None` for a status that is not in the table.
    pub fn from_code(code: u8) -> Option<Exit> {
        Exit::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// One line for the documentation; a test holds README's table against it.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Pass => "everything asked for was checked and passed",
            Exit::CheckFailed => "a check failed: the system or its monitoring is wrong",
            Exit::Usage => "usage: arguments, scenario or stack file",
            Exit::NoData => {
                "no data: something that had to be seen could not be (Prometheus gone, too); or nothing was checked"
            }
            Exit::Overloaded => "overloaded: the generator could not send what was asked",
            Exit::Prerequisite => "a prerequisite is missing, or consent was not given",
            Exit::Target => "the target could not be brought up, reached or taken down",
            Exit::HungUp => "the terminal was closed (SIGHUP), after cleaning up",
            Exit::Interrupted => "interrupted (Ctrl-C), after cleaning up",
            Exit::Quit => "interrupted (Ctrl-\\, SIGQUIT), after cleaning up",
            Exit::Terminated => "terminated (SIGTERM), after cleaning up",
        }
    }

    /// Whether somebody asked the process to end.
    pub fn is_interruption(self) -> bool {
        matches!(self, Exit::HungUp | Exit::Interrupted | Exit::Quit | Exit::Terminated)
    }

    /// Where several causes hold, the one with the lowest rank is reported.
    fn rank(self) -> u8 {
        match self {
            Exit::HungUp | Exit::Interrupted | Exit::Quit | Exit::Terminated => 0,
            Exit::Usage => 1,
            Exit::Prerequisite => 2,
            Exit::Target => 3,
            Exit::CheckFailed => 4,
            Exit::NoData => 5,
            Exit::Overloaded => 6,
            Exit::Pass => 7,
        }
    }

    /// The one of several causes that is reported; no cause at all is no data.
    pub fn of_all(causes: impl IntoIterator<Item = Exit>) -> Exit {
        causes.into_iter().min_by_key(|exit| exit.rank()).unwrap_or(Exit::NoData)
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Exit {
        match verdict {
            Verdict::Pass => Exit::Pass,
            Verdict::Fail => Exit::CheckFailed,
            Verdict::NoData => Exit::NoData,
            Verdict::Skipped => Exit::Overloaded,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interruption_outranks_what_could_not_be_judged_outranks_verdicts() {
        let order = [
            Exit::Interrupted,
            Exit::Usage,
            Exit::Prerequisite,
            Exit::Target,
            Exit::CheckFailed,
            Exit::NoData,
            Exit::Overloaded,
            Exit::Pass,
        ];
        for (i, first) in order.iter().enumerate() {
            for second in &order[i..] {
                assert_eq!(Exit::of_all([*second, *first]), *first);
            }
        }
    }

    #[test]
    fn nothing_checked_is_no_data() {
        assert_eq!(Exit::of_all([]), Exit::NoData);
    }
}
