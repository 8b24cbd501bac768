//! The command line: one file a command, its arguments and the few lines that call the core.

mod app;
mod capacity;
mod cluster_open;
mod cluster_status;
mod columns;
mod compare;
mod completions;
mod credentials;
mod describe;
mod doctor;
mod down;
mod fault;
mod files;
mod heal;
mod image;
mod init;
mod init_external;
mod inspect;
mod left_behind;
mod list;
mod load;
mod logs;
mod logshipper;
mod logstore;
mod man;
mod mirror;
mod open;
mod pressure;
mod push;
mod reach;
mod receiver;
mod report;
mod run;
mod runs;
mod schema;
mod set;
mod status;
mod trust;
mod turn;
mod up;
mod validate;
mod verify;
mod verify_from;
mod why;
mod worker;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::target::TargetKind;
use crate::terminal::Terminal;

/// Brings up a monitored lab, puts a known load and known faults on it, and proves that the
/// monitoring saw exactly that.
#[derive(Debug, Parser)]
#[command(name = "sre", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where the stack runs; without it: the target that is up here, else minikube where it is
    /// installed and supported, else local.
    #[arg(long, global = true, env = "SRE_TARGET", value_name = "TARGET")]
    pub target: Option<TargetKind>,
    /// How data is printed on stdout.
    #[arg(short, long, global = true, default_value = "table", value_name = "FORMAT")]
    pub output: Output,
    /// Whether screens are coloured.
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN")]
    pub color: When,
    /// Says yes to every question: installing, downloading, deleting.
    #[arg(short, long, global = true, env = "SRE_YES")]
    pub yes: bool,
    /// An environment variable that files may name as a secret: in headers, bodies and credentials. May be given several
    /// times; names that begin with SRE_SECRET_ need it not.
    #[arg(long, global = true, env = "SRE_ALLOW_ENV", value_name = "NAME", value_delimiter = ',')]
    pub allow_env: Vec<String>,
    /// Sends secrets over plain http to other machines, too.
    #[arg(long, global = true, env = "SRE_ALLOW_PLAIN_HTTP")]
    pub allow_plain_http: bool,
    /// No progress; the verdict and errors only.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Tells more; twice, even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How data is printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// For an issue or a merge request: what `inspect` and `report` show.
    Markdown,
}

/// Whether screens are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Load(load::Load),
    Verify(verify::Verify),
    Why(why::Why),
    Report(report::Report),
    Run(run::Run),
    Status(status::Status),
    Inspect(inspect::Inspect),
    Logs(logs::Logs),
    Open(open::Open),
    Down(down::Down),
    Heal(heal::Heal),
    Trust(trust::Trust),
    Fault(Box<fault::Fault>),
    Init(Box<init::Init>),
    List(list::List),
    Runs(runs::Runs),
    Compare(compare::Compare),
    Describe(describe::Describe),
    Validate(validate::Validate),
    Schema(schema::Schema),
    Doctor(doctor::Doctor),
    Mirror(mirror::Mirror),
    Completions(completions::Completions),
    Man(man::Man),
    Image(image::Image),
    App(app::App),
    Receiver(receiver::Receiver),
    #[command(hide = true)]
    Pressure(pressure::Pressure),
    #[command(hide = true)]
    Logstore(logstore::Logstore),
    #[command(hide = true)]
    Logshipper(logshipper::Logshipper),
    #[command(hide = true)]
    Worker(worker::Worker),
}

impl Command {
    fn has_markdown(&self) -> bool {
        matches!(self, Command::Inspect(_) | Command::Report(_))
    }

    /// Whether it runs until it is stopped, or is a part of another command.
    fn is_service(&self) -> bool {
        use Command::*;
        matches!(self, App(_) | Receiver(_) | Logstore(_) | Logshipper(_) | Pressure(_) | Worker(_))
    }

    /// Whether it changes a lab or puts load on it: then what a killed `sre` left behind here is undone first.
    /// `sre heal` tells of it at length.
    fn changes_a_lab(&self) -> bool {
        match self {
            Command::Up(up) => !up.only_looks(),
            Command::Fault(fault) => fault.injects(),
            Command::Load(_) | Command::Run(_) | Command::Down(_) => true,
            _ => false,
        }
    }

    /// Whether somebody reads what it tells of a folder: who only looks is told what was left behind, and no more.
    fn looks(&self) -> bool {
        use Command::*;
        if let Fault(fault) = self {
            return !fault.is_inside() && !fault.is_heal();
        }
        !self.is_service() && !matches!(self, Heal(_) | Trust(_) | Completions(_) | Man(_) | Image(_))
    }
}

/// What every command is given.
#[derive(Clone)]
pub struct Context {
    /// What holds for every command.
    pub global: Global,
    /// What goes to stdout, to stderr, and how.
    pub terminal: Terminal,
    /// Ctrl-C, SIGTERM, SIGHUP and SIGQUIT.
    pub interrupt: Interrupt,
}

/// Runs the command, prints its error if it has one, and tells how the process ends.
pub async fn run(cli: Cli) -> Exit {
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return fail(&error),
    };
    crate::secret::allow(cli.global.allow_env.iter().cloned());
    if cli.global.allow_plain_http {
        crate::secret::allow_plain_http();
    }
    let context = Context { terminal: Terminal::new(&cli.global), global: cli.global, interrupt };
    let is_service = cli.command.is_service();
    let result: Result<Exit> = dispatch(cli.command, &context).await;
    // Where several causes hold, an interruption comes first; but a service is there to be stopped.
    match (result, context.interrupt.exit()) {
        (Ok(exit), _) if is_service => exit,
        (Ok(_), Some(interrupted)) => interrupted,
        (Ok(exit), None) => exit,
        (Err(error), interrupted) => {
            let exit = fail(&error);
            interrupted.unwrap_or(exit)
        }
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<Exit> {
    if context.global.output == Output::Markdown && !command.has_markdown() {
        return Err(Error::usage("this command does not print Markdown").hint("-o table, json or yaml"));
    }
    let changes = command.changes_a_lab();
    if changes || matches!(command, Command::Heal(_)) {
        let here = crate::target::Folder::here()?;
        if changes {
            crate::fault::recover(&here, &context.terminal, &context.interrupt).await;
        }
        crate::target::kubernetes::load_job::recover(&here, &context.terminal, &context.interrupt).await;
        context.interrupt.check()?;
    } else if command.looks() {
        left_behind::tell(&context.terminal);
    }
    match command {
        Command::Up(command) => command.run(context).await,
        Command::Load(command) => command.run(context).await,
        Command::Verify(command) => command.run(context).await,
        Command::Why(command) => command.run(context).await,
        Command::Report(command) => command.run(context).await,
        Command::Run(command) => command.run(context).await,
        Command::Status(command) => command.run(context).await,
        Command::Inspect(command) => command.run(context).await,
        Command::Logs(command) => command.run(context).await,
        Command::Open(command) => command.run(context).await,
        Command::Down(command) => command.run(context).await,
        Command::Heal(command) => command.run(context).await,
        Command::Trust(command) => command.run(context).await,
        Command::Fault(command) => command.run(context).await,
        Command::Init(command) => command.run(context).await,
        Command::List(command) => command.run(context).await,
        Command::Runs(command) => command.run(context).await,
        Command::Compare(command) => command.run(context).await,
        Command::Describe(command) => command.run(context).await,
        Command::Validate(command) => command.run(context).await,
        Command::Schema(command) => command.run(context).await,
        Command::Doctor(command) => command.run(context).await,
        Command::Mirror(command) => command.run(context).await,
        Command::Completions(command) => command.run(context).await,
        Command::Man(command) => command.run(context).await,
        Command::Image(command) => command.run(context).await,
        Command::App(command) => command.run(context).await,
        Command::Receiver(command) => command.run(context).await,
        Command::Logstore(command) => command.run(context).await,
        Command::Logshipper(command) => command.run(context).await,
        Command::Pressure(command) => command.run(context).await,
        Command::Worker(command) => command.run(context).await,
    }
}

fn fail(error: &Error) -> Exit {
    use std::io::Write as _;
    let _ = writeln!(anstream::stderr(), "error: {}", crate::terminal::shown(&error.to_string()));
    error.exit()
}
