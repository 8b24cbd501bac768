//! Questions on a terminal: `script`, a part of util-linux, makes one.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "support/needs.rs"]
mod needs;

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use sre::cli::{Global, Output, When};
use sre::interrupt::Interrupt;
use sre::terminal::Terminal;

const QUESTION: &str = "Go on? [y/N] ";

/// A program on a terminal of its own.
struct Screen {
    script: Child,
    pieces: Receiver<String>,
    /// All that was written so far.
    text: String,
}

impl Screen {
    /// `None`, said loudly, where there is no `script`.
    fn of(command: &str, prepare: impl FnOnce(&mut Command)) -> Option<Screen> {
        if Command::new("script").arg("--version").output().is_err() {
            needs::skipped("terminal", "script is not here");
            return None;
        }
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--flush", "--command", command, "/dev/null"]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).env("TERM", "xterm").env_remove("SRE_YES");
        prepare(&mut script);
        let mut script = script.spawn().unwrap();
        let mut output = script.stdout.take().unwrap();
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                let _ = sender.send(String::from_utf8_lossy(&piece[..read]).into_owned());
            }
        });
        Some(Screen { script, pieces, text: String::new() })
    }

    /// Waits until this is on the screen; all that was written after it.
    fn wait_for(&mut self, what: &str) -> &str {
        let end = Instant::now() + Duration::from_secs(90);
        while !self.text.contains(what) {
            let left = end.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.text += &piece,
                Err(e) => panic!("{e} before {what:?}:\n{}", self.text),
            }
        }
        self.text.split_once(what).unwrap().1
    }

    fn type_in(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code, and all that was on the screen.
    fn end(mut self) -> (Option<i32>, String) {
        // What has not ended by now never would: the terminal is closed at the end of the input.
        let status = self.script.wait().unwrap();
        self.text.extend(self.pieces.iter());
        (status.code(), self.text)
    }
}

/// A folder with a shipped file that was changed, and `sre init` in it, which asks before it overwrites that.
fn init_over_a_change() -> Option<(tempfile::TempDir, std::path::PathBuf, Screen)> {
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("scenarios/errors.yaml");
    std::fs::create_dir_all(changed.parent().unwrap()).unwrap();
    std::fs::write(&changed, "mine").unwrap();
    let program = format!("'{}' init", env!("CARGO_BIN_EXE_sre"));
    let mut screen = Screen::of(&program, |script| {
        script.current_dir(folder.path());
    })?;
    screen.wait_for(QUESTION);
    Some((folder, changed, screen))
}

#[test]
fn ctrl_c_at_a_question_ends_with_130_and_changes_nothing() {
    let Some((folder, changed, mut screen)) = init_over_a_change() else { return };
    screen.type_in("\x03");
    let (code, text) = screen.end();
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("\nerror: "), "the error has a line of its own: {text:?}");
    assert_eq!(std::fs::read_to_string(changed).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else was written");
}

#[test]
fn only_yes_is_consent() {
    for (answer, code) in [("\n", 5), ("n\n", 5), ("yes\n", 0)] {
        let Some((_folder, changed, mut screen)) = init_over_a_change() else { return };
        screen.type_in(answer);
        let (ended, text) = screen.end();
        assert_eq!(ended, Some(code), "{answer:?}: {text}");
        assert_eq!(std::fs::read_to_string(changed).unwrap() == "mine", code != 0, "{answer:?}");
    }
}

/// Programs that are missing are asked about; Ctrl-C there leaves neither a lab nor a cache.
#[test]
fn ctrl_c_at_the_question_of_up_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = format!("'{}' up users-api --target local", env!("CARGO_BIN_EXE_sre"));
    let prepare = |script: &mut Command| {
        // `script` itself needs a shell and no more.
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
        let script_itself = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|path| path.join("script"))
            .find(|path| path.exists())
            .unwrap();
        std::os::unix::fs::symlink(script_itself, bin.join("script")).unwrap();
        for name in ["SRE_PROMETHEUS", "SRE_PROMTOOL", "SRE_ALERTMANAGER", "SRE_NODE_EXPORTER", "SRE_MIRROR"]
        {
            script.env_remove(name);
        }
        script.current_dir(folder.path()).env("PATH", bin).env("SHELL", "/bin/sh");
        script.env("XDG_CACHE_HOME", folder.path().join("cache"));
    };
    let Some(mut screen) = Screen::of(&program, prepare) else { return };
    screen.wait_for(QUESTION);
    screen.type_in("\x03");
    let (code, text) = screen.end();
    assert_eq!(code, Some(130), "{text}");
    assert!(!folder.path().join("cache/sre").exists(), "{text}");
    assert!(!folder.path().join(".sre/lab.json").exists(), "{text}");
}

/// This test runs itself on a terminal: there it shows a spinner, which must not wipe out the question.
#[test]
fn a_question_stays_on_the_screen_though_something_spins() {
    const ON_TERMINAL: &str = "SRE_TEST_ON_TERMINAL";
    const TICKED: &str = "ticked";
    if std::env::var_os(ON_TERMINAL).is_some() {
        let terminal = Terminal::new(&global());
        let spinner = terminal.spinner().unwrap();
        spinner.set_message("waiting");
        spinner.tick();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let asked = runtime.block_on(async {
            let interrupt = Interrupt::default();
            let asked = terminal.consent("The lab will be deleted.", &interrupt);
            let ticks = async {
                for _ in 0..20 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    spinner.set_message("waiting still");
                    spinner.tick();
                }
                println!("{TICKED}");
            };
            tokio::join!(asked, ticks).0
        });
        spinner.finish_and_clear();
        return println!("{}", if asked.is_ok() { "consent" } else { "none" });
    }
    let this = std::env::current_exe().unwrap();
    let name = "a_question_stays_on_the_screen_though_something_spins";
    let command = format!("'{}' --exact {name} --nocapture", this.display());
    let prepare = |script: &mut Command| {
        script.env(ON_TERMINAL, "yes");
    };
    let Some(mut screen) = Screen::of(&command, prepare) else { return };
    screen.wait_for("waiting");
    screen.wait_for(QUESTION);
    let after = screen.wait_for(TICKED).len();
    let until = screen.text.len() - after;
    let between = screen.text[..until].split_once(QUESTION).unwrap().1;
    assert_eq!(between, TICKED, "nothing is written over the question");
    screen.type_in("y\n");
    screen.wait_for("consent");
    assert_eq!(screen.end().0, Some(0));
}

/// What the command line has where nothing is given.
fn global() -> Global {
    Global {
        target: None,
        output: Output::Table,
        color: When::Auto,
        yes: false,
        quiet: false,
        verbose: 0,
        allow_env: Vec::new(),
        allow_plain_http: false,
    }
}
